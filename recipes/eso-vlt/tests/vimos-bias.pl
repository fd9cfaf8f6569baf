# Five bias frames of one VIMOS quadrant with 3 ADU of noise at 200 ADU: vmbias must find both.
use strict;
use warnings;
use Esorex;
use Fits;

my ($nx, $ny) = (2148, 2440);
my @primary = (Esorex::raw_cards('VIMOS', 'BIAS', 'IMAGE', '0.0'), Esorex::ccd_cards($nx, $ny, '3.0'),
    'ESO OCS CON QUAD', 1);

my $noise = Fits::noise(200, 3);
my @frames = map {"bias$_.fits"} 1 .. 5;
Fits::save($_, Fits::primary(\@primary, $nx, $ny, Fits::image($noise, $nx, $ny))) for @frames;
Esorex::reduce('vmbias', 'BIAS', @frames);
Esorex::report('master_bias.fits', qr/QC (RON|BIAS MEAN)$/);
