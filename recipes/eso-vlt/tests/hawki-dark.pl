# Three HAWK-I darks, four detectors each, with 20 ADU of noise at 1000 ADU: hawki_dark_combine must find both.
use strict;
use warnings;
use Esorex;
use Fits;

my $side = 2048;
my @primary = (Esorex::raw_cards('HAWKI', 'DARK', 'IMAGE', '10.0'),
    Esorex::prefixed('ESO DET', 'DIT', '10.0', 'NDIT', 1, 'NDSAMPLES', 4, 'NCORRS NAME', ['NonDest']));

my $noise = Fits::noise(1000, 20);
my @frames = map {"dark$_.fits"} 1 .. 3;
for my $frame (@frames) {
    my @detectors = map {
        my @cards = Esorex::prefixed('ESO DET CHIP', 'NO', $_, 'NAME', ["CHIP$_"], 'LIVE', 'T', 'GAIN', '2.0');
        Fits::extension("CHIP$_.INT1", \@cards, $side, $side, Fits::image($noise, $side, $side));
    } 1, 2, 4, 3;    # the order in which the instrument writes them
    Fits::save($frame, Fits::primary(\@primary), @detectors);
}
Esorex::reduce('hawki_dark_combine', 'DARK', @frames);
Esorex::report('darkcomb.fits', qr/QC (RON1|DARK MED)$/);
