# Five bias frames of the blue arm of UVES with 4 ADU of noise at 200 ADU: uves_cal_mbias must find both.
use strict;
use warnings;
use Esorex;
use Fits;

my ($nx, $ny) = (2148, 3000);
my @primary = (Esorex::raw_cards('UVES', 'BIAS', 'ECHELLE', '0.0'), Esorex::ccd_cards($nx, $ny, '4.0'),
    'ORIGIN', ['TEST'], 'ESO DET READ SPEED', ['ultra-slow'], 'ESO DET CHIP1 NAME', ['TEST']);

my $noise = Fits::noise(200, 4);
my @frames = map {"bias$_.fits"} 1 .. 5;
Fits::save($_, Fits::primary(\@primary, $nx, $ny, Fits::image($noise, $nx, $ny))) for @frames;
Esorex::reduce('uves_cal_mbias', 'BIAS_BLUE', @frames);
Esorex::report('masterbias_blue.fits', qr/PRO DATAAVG$|QC OUT1 RON RAW$/);
