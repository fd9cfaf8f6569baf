# Five GIRAFFE bias frames with 4 ADU of noise at 200 ADU: gimasterbias must find the level, and the noise of a mean of five.
use strict;
use warnings;
use Esorex;
use Fits;

my ($nx, $ny) = (2148, 4096);
my @primary = (Esorex::raw_cards('GIRAFFE', 'BIAS', 'IMAGE', '0.0'), Esorex::ccd_cards($nx, $ny, '4.0'));

my $noise = Fits::noise(200, 4);
my @frames = map {"bias$_.fits"} 1 .. 5;
Fits::save($_, Fits::primary(\@primary, $nx, $ny, Fits::image($noise, $nx, $ny))) for @frames;
Esorex::reduce('gimasterbias', 'BIAS', ['--stack-method=average'], @frames);
Esorex::report('master_bias.fits', qr/PRO BIAS (VALUE|SIGMA)$/);
