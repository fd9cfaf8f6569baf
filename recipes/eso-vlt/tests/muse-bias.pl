# Three bias frames of one MUSE channel with 3 ADU of noise: muse_bias must find that noise in each quadrant.
use strict;
use warnings;
use Esorex;
use Fits;

my ($nx, $ny) = (4224, 4240);
my %corners = (1 => [1, 1], 2 => [4096, 1], 3 => [4096, 4112], 4 => [1, 4112]);

my @primary = (Esorex::raw_cards('MUSE', 'BIAS', 'IFU', '0.0'), 'ESO INS MODE', ['WFM-NOAO-N'],
    'ESO DET READ CURID', 1, 'ESO DET READ CURNAME', ['SCI1.0'], 'ESO DET BINX', 1, 'ESO DET BINY', 1);
my @channel = ('ESO DET OUTPUTS', 4,
    Esorex::prefixed('ESO DET CHIP', 'NAME', ['TEST'], 'ID', ['TEST'], 'LIVE', 'T', 'NX', 4096, 'NY', 4112));
for my $n (sort keys %corners) {
    my ($x, $y) = @{ $corners{$n} };
    push @channel, Esorex::prefixed("ESO DET OUT$n", 'ID', ["Q$n"], 'X', $x, 'Y', $y, 'NX', 2048, 'NY', 2056,
        'PRSCX', 32, 'PRSCY', 32, 'OVSCX', 32, 'OVSCY', 32, 'GAIN', '1.0', 'CONAD', '1.0', 'RON', '3.0');
}

my $noise = Fits::noise(1000, 3);
my @frames = map {"bias$_.fits"} 1 .. 3;
for my $frame (@frames) {
    Fits::save($frame, Fits::primary(\@primary),
        Fits::extension('CHAN01', \@channel, $nx, $ny, Fits::image($noise, $nx, $ny)));
}
Esorex::reduce('muse_bias', 'BIAS', ['--nifu=1', '--merge=false'], @frames);
Esorex::report('MASTER_BIAS-01.fits', qr/QC BIAS MASTER\d (RON|STDEV)$/);
