# Three VISIR darks with 8 ADU of noise at 500 ADU: visir_img_dark must find both.
use strict;
use warnings;
use Esorex;
use Fits;

my $side = 1024;
my @primary = (Esorex::raw_cards('VISIR', 'DARK', 'IMAGE', '10.0'),
    Esorex::prefixed('ESO DET', 'DIT', '10.0', 'NDIT', 1, 'WIN NX', $side, 'WIN NY', $side));

my $noise = Fits::noise(500, 8);
my @frames = map {"dark$_.fits"} 1 .. 3;
Fits::save($_, Fits::primary(\@primary, $side, $side, Fits::image($noise, $side, $side))) for @frames;
Esorex::reduce('visir_img_dark', 'IM_CAL_DARK', @frames);
Esorex::report('visir_img_dark_set01_avg.fits', qr/QC (RON\d|DARKMED)$/);
