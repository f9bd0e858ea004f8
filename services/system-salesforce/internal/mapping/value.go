package mapping

import (
	"strconv"
	"strings"
)

// maxExponent bounds the exponents that Decimal writes out; the org's own numbers have at most 18 digits.
const maxExponent = 40

// Decimal returns the plain form of a JSON number, exactly: "350000000" for "3.5E8", "12.5" for "12.50". It reports false for
// text that is no number or has an absurd exponent.
func Decimal(text string) (string, bool) {
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		n, err := strconv.Atoi(strings.TrimPrefix(text[i+1:], "+"))
		if err != nil || n > maxExponent || n < -maxExponent {
			return "", false
		}
		mantissa, exponent = text[:i], n
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, dotted := strings.Cut(digits, ".")
	if whole == "" || dotted && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return "", false
	}
	if exponent > 0 {
		fraction += strings.Repeat("0", max(0, exponent-len(fraction)))
		whole, fraction = whole+fraction[:exponent], fraction[exponent:]
	} else if exponent < 0 {
		whole = strings.Repeat("0", max(0, 1-exponent-len(whole))) + whole
		cut := len(whole) + exponent
		whole, fraction = whole[:cut], whole[cut:]+fraction
	}
	whole = strings.TrimLeft(whole, "0")
	fraction = strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative && whole != "0" {
		whole = "-" + whole
	}
	return whole, true
}

// Etag names the state of a record that has a version.
func Etag(version int64) string { return "v" + strconv.FormatInt(version, 36) }

// EtagVersion returns the version that an etag names. It reports false for text that is none of our etags.
func EtagVersion(etag string) (int64, bool) {
	text, ok := strings.CutPrefix(etag, "v")
	if !ok {
		return 0, false
	}
	version, err := strconv.ParseInt(text, 36, 64)
	return version, err == nil && version > 0 && Etag(version) == etag
}
