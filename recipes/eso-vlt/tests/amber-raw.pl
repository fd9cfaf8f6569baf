# Twenty AMBER frames of five detector regions with 5 counts of noise: in their sum, as amber_raw_to_fitsimage
# makes it, each region must have twenty times its level, and the noise of twenty frames, 5 * sqrt(20) = 22.4.
use strict;
use warnings;
use Esorex;
use Fits;

my ($width, $height, $frames) = (32, 64, 20);
my @levels = map { 1000 * $_ } 1 .. 5;
my $pixels = $width * $height;
my @origin = ('ORIGIN', ['TEST'], 'INSTRUME', ['AMBER'], 'DATE-OBS', ['2008-12-09T00:00:00'], 'MJD-OBS', '54809.0');

my @primary = (Esorex::raw_cards('AMBER', '2P2V', 'INTERFEROMETRY', '0.1'), 'ESO DET NDIT', $frames, 'ESO DET NTEL', 3,
    'ESO INS GRAT1 ORDER', 1, 'ESO INS GRAT1 WLEN', '2.2',
    map { ("ESO INS $_ NAME", ['TEST']) } qw(GRAT1 GRIS1 GRIS2 OPTI2 OPTI5 OPTI6 OPTI7));

my @telescopes = map { pack 'A8 A8 s> f> (d>)3', "UT$_", "U$_", $_, 8, 10 * $_, 0, 0 } 1 .. 3;
my $array = Fits::table('ARRAY_GEOMETRY',
    [@origin, 'ARRNAME', ['VLTI'], 'FRAME', ['GEOCENTRIC'], map { ("ARRAY$_", '1.0') } qw(X Y Z)],
    ['TEL_NAME', '8A', 'STA_NAME', '8A', 'STA_INDEX', '1I', 'DIAMETER', '1E', 'STAXYZ', '3D'], @telescopes);

# A region's name is that of its column in IMAGING_DATA.
my @regions = map {
    pack 's> s> (s>)3 s> A16 (s>)2 f> (s>)2 (d>)2 (d>)2', $_, 1, 0, 0, 0, $_ == 4 ? 2 : 1, "DATA$_",
        1 + $width * ($_ - 1), 1, 1, $width, $height, (0) x 4
} 1 .. 5;
my $detector = Fits::table('IMAGING_DETECTOR', [@origin, 'NDETECT', 1, 'NREGION', 5, 'NUM_DIM', 2, 'MAX_COEF', 1, 'MAXTEL', 3],
    ['REGION', '1I', 'DETECTOR', '1I', 'PORTS', '3I', 'CORRELATION', '1I', 'REGNAME', '16A', 'CORNER', '2I',
        'GAIN', '1E', 'NAXIS', '2I', 'CRVAL', '2D', 'CRPIX', '2D'], @regions);

my $noise = Fits::noise(0x8000, 5);    # as signed numbers about 0: each region adds its level
my @exposures = map {
    my $second = $_;
    my @data = map { my $level = $_; pack 's>*', map { $_ + $level } unpack 's>*', Fits::image($noise, $pixels, 1) } @levels;
    join '', pack('l> d> f>', $second, 54809 + $second / 86400, 0.1), @data
} 1 .. $frames;
my $data = Fits::table('IMAGING_DATA', [@origin, 'NREGION', 5, 'MAXTEL', 3, 'MAXINS', 3, 'MAXSTEP', 1],
    ['FRAME', '1J', 'TIME', '1D', 'EXPTIME', '1E', map { ("DATA$_", "${pixels}I") } 1 .. 5], @exposures);

my $waves = Fits::table('AMBER_WAVEDATA', [@origin, 'NWAVE', 512, map { ("ESO INS P$_ OFFSETY", '0.0') } 1 .. 3],
    ['WLEN', '512E', 'BANDWIDTH', '512E'], pack('f>*', (map { 2500 - $_ } 1 .. 512), (1) x 512));

Fits::save('raw.fits', Fits::primary(\@primary), $array, $detector, $data, $waves);
Esorex::reduce('amber_raw_to_fitsimage', 'RAW', 'raw.fits');

my @sum = Fits::floats('amber_raw_sum.fits');
for my $region (1 .. 5) {
    my @values = map { my $row = 5 * $width * $_; @sum[$row + $width * ($region - 1) .. $row + $width * $region - 1] }
        0 .. $height - 1;
    my $mean = 0;
    $mean += $_ / @values for @values;
    my $variance = 0;
    $variance += ($_ - $mean)**2 / @values for @values;
    printf "region %d: mean %.3f, noise %.3f\n", $region, $mean, sqrt $variance;
}
