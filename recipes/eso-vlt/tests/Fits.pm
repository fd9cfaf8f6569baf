# Writes and reads just enough FITS for these tests, with perl-base alone: the images hold no Python.
package Fits;
use strict;
use warnings;

my $BLOCK = 2880;
my $POOL  = 1 << 18;    # deviates drawn once: their sigma is true to 1/sqrt(2 * POOL), 0.14 %

srand 1;                # the same frames every time

# Gaussian noise as unsigned 16-bit pixels (stored with BZERO 32768), to cut rows out of.
sub noise {
    my ($mean, $sigma) = @_;
    my $turn = 8 * atan2(1, 1);
    my @pixels;
    while (@pixels < $POOL) {
        my ($radius, $angle) = ($sigma * sqrt(-2 * log(1 - rand)), $turn * rand);
        push @pixels, map { int($mean + 0.5 + $radius * $_) ^ 0x8000 } cos $angle, sin $angle;
    }
    return pack 'n*', @pixels;
}

# An image of rows that each begin at a random place of the noise: frames and rows share no pattern.
sub image {
    my ($noise, $nx, $ny) = @_;
    my $places = length($noise) / 2 - $nx + 1;
    return join '', map { substr $noise, 2 * int(rand $places), 2 * $nx } 1 .. $ny;
}

# A primary unit with the given cards, and an image where there is one.
# Cards are keyword and value in turn; a value is [text], T, F or a number as FITS writes it.
sub primary {
    my ($cards, $nx, $ny, $data) = @_;
    return unit(['SIMPLE', 'T', pixels($nx, $ny), 'EXTEND', 'T', @$cards], $data);
}

# An image extension.
sub extension {
    my ($name, $cards, $nx, $ny, $data) = @_;
    my @first = ('XTENSION', ['IMAGE'], pixels($nx, $ny), 'PCOUNT', 0, 'GCOUNT', 1, 'EXTNAME', [$name]);
    return unit([@first, @$cards], $data);
}

# A binary table. Columns are name and format in turn; rows are packed bytes.
sub table {
    my ($name, $cards, $columns, @rows) = @_;
    my @first = ('XTENSION', ['BINTABLE'], 'BITPIX', 8, 'NAXIS', 2, 'NAXIS1', length $rows[0],
        'NAXIS2', scalar @rows, 'PCOUNT', 0, 'GCOUNT', 1, 'TFIELDS', @$columns / 2);
    for my $n (1 .. @$columns / 2) {
        push @first, "TTYPE$n", [$columns->[2 * $n - 2]], "TFORM$n", [$columns->[2 * $n - 1]];
    }
    return unit([@first, 'EXTNAME', [$name], @$cards], join '', @rows);
}

sub pixels {
    my ($nx, $ny) = @_;
    return ('BITPIX', 8, 'NAXIS', 0) unless $nx;
    return ('BITPIX', 16, 'NAXIS', 2, 'NAXIS1', $nx, 'NAXIS2', $ny, 'BZERO', '32768.0', 'BSCALE', '1.0');
}

sub unit {
    my ($cards, $data) = @_;
    my $header = '';
    for (my $i = 0; $i < @$cards; $i += 2) {
        my ($key, $value) = @$cards[$i, $i + 1];
        $value = sprintf "'%-8s'", $value->[0] if ref $value;
        $header .= sprintf '%-80s',
            $key =~ / / ? "HIERARCH $key = $value" : sprintf '%-8s= %20s', $key, $value;
    }
    return padded($header . sprintf('%-80s', 'END'), ' ') . padded($data // '', "\0");
}

sub padded {
    my ($bytes, $filler) = @_;
    return $bytes . $filler x (-length($bytes) % $BLOCK);
}

sub save {
    my ($file, @units) = @_;
    open my $out, '>:raw', $file or die "$file: $!\n";
    print $out @units or die "$file: $!\n";
    close $out or die "$file: $!\n";
}

# All header cards of a file as [unit, keyword, value]; the primary unit is number 0.
sub cards {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    my @cards;
    for (my $unit = 0; my %size = header($in, $unit, \@cards); $unit++) {
        my $bytes = $size{NAXIS} ? abs($size{BITPIX}) / 8 : 0;
        $bytes *= $size{"NAXIS$_"} for 1 .. $size{NAXIS};
        $bytes += $size{PCOUNT} // 0;
        seek $in, $bytes + -$bytes % $BLOCK, 1 or die "$file: $!\n";
    }
    return @cards;
}

# The pixels of a primary image of 32-bit floats.
sub floats {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    my %size = header($in, 0, []);
    my $bytes = 4 * $size{NAXIS1} * $size{NAXIS2};
    die "$file: not an image of 32-bit floats\n" unless $size{BITPIX} == -32 && read($in, my $data, $bytes) == $bytes;
    return unpack 'f>*', $data;
}

# Appends one header's cards, and returns its keywords; nothing at the end of the file.
sub header {
    my ($in, $unit, $cards) = @_;
    my %values;
    while (read($in, my $block, $BLOCK) == $BLOCK) {
        for my $card (unpack '(A80)36', $block) {
            return %values if $card eq 'END';
            my ($key, $value) = $card =~ /^(?:HIERARCH )?([A-Z0-9_ -]+?)\s*=\s+('(?:[^']|'')*'|[^\/ ]+)/ or next;
            push @$cards, [$unit, $key, $value];
            $values{$key} = $value;
        }
    }
    return;
}

1;
