# Runs one esorex recipe on synthetic frames, and prints what it measured.
package Esorex;
use strict;
use warnings;
use Fits;

# Cards that every pipeline wants in the primary header of a raw calibration frame.
sub raw_cards {
    my ($instrument, $type, $technique, $seconds) = @_;
    return ('INSTRUME', [$instrument], 'MJD-OBS', '57000.0', 'DATE-OBS', ['2014-12-09T00:00:00'],
        'EXPTIME', $seconds, 'ESO DPR CATG', ['CALIB'], 'ESO DPR TYPE', [$type], 'ESO DPR TECH', [$technique]);
}

# Cards of a CCD read through one port, with 50 columns of prescan and 50 of overscan.
sub ccd_cards {
    my ($nx, $ny, $noise) = @_;
    my @window = ('BINX', 1, 'BINY', 1, 'STRX', 1, 'STRY', 1, 'NX', $nx, 'NY', $ny);
    my @output = ('X', 1, 'Y', 1, 'NX', $nx - 100, 'NY', $ny, 'PRSCX', 50, 'PRSCY', 0, 'OVSCX', 50, 'OVSCY', 0,
        'GAIN', '1.0', 'CONAD', '1.0', 'RON', $noise);
    my @chip = ('ID', ['TEST'], 'NX', $nx - 100, 'NY', $ny, 'PSZX', '15.0', 'PSZY', '15.0');
    my @axes = map { ("CTYPE$_", ['PIXEL'], "CRPIX$_", '1.0', "CRVAL$_", '1.0', "CDELT$_", '1.0') } 1, 2;
    return (@axes, 'ESO DET OUTPUTS', 1, prefixed('ESO DET WIN1', @window),
        prefixed('ESO DET OUT1', @output), prefixed('ESO DET CHIP1', @chip));
}

sub prefixed {
    my ($prefix, @cards) = @_;
    return map { $_ % 2 ? $cards[$_] : "$prefix $cards[$_]" } 0 .. $#cards;
}

# Runs a recipe on frames that all bear one tag.
sub reduce {
    my ($recipe, $tag, @frames) = @_;
    my @options = @{ ref $frames[0] ? shift @frames : [] };
    open my $sof, '>', 'frames.sof' or die "frames.sof: $!\n";
    print $sof map {"$_ $tag\n"} @frames;
    close $sof or die "frames.sof: $!\n";
    system('esorex', '--msg-level=warning', $recipe, @options, 'frames.sof') == 0
        or die "esorex $recipe failed\n";
}

# Prints the cards of a product whose keyword matches, each after the number of its header.
sub report {
    my ($product, $keyword) = @_;
    $| = 1;    # after what esorex printed
    print map {"[$_->[0]] $_->[1] = $_->[2]\n"} grep { $_->[1] =~ $keyword } Fits::cards($product);
}

1;
