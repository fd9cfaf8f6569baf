# Three NACO darks with 8 ADU of noise at 500 ADU: naco_img_dark must find both.
use strict;
use warnings;
use Esorex;
use Fits;

my $side = 1024;
my @primary = (Esorex::raw_cards('NAOS+CONICA', 'DARK', 'IMAGE', '10.0'), 'ESO INS OPTI7 NAME', ['S27'],
    Esorex::prefixed('ESO DET', 'DIT', '10.0', 'NDIT', 1, 'NCORRS', 2, 'NCORRS NAME', ['Double_RdRstRd'],
        'MODE NAME', ['HighSensitivity'], 'WIN STARTX', 1, 'WIN STARTY', 1, 'WIN NX', $side, 'WIN NY', $side));

my $noise = Fits::noise(500, 8);
my @frames = map {"dark$_.fits"} 1 .. 3;
Fits::save($_, Fits::primary(\@primary, $side, $side, Fits::image($noise, $side, $side))) for @frames;
Esorex::reduce('naco_img_dark', 'CAL_DARK', @frames);
Esorex::report('naco_img_dark_set01_avg.fits', qr/QC (RON\d|DARKMED)$/);
