package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
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

// Etag names the state of a record: its version, and its values as far as they are mapped, because several changes may share a
// version. The row was read with Columns.
func (o *Object) Etag(row map[string]any) (string, error) {
	at, err := Time(row["SystemModstamp"])
	if err != nil {
		return "", fmt.Errorf("%s SystemModstamp: %w", o.Name, err)
	}
	return o.etag(row, at.UnixMilli()), nil
}

func (o *Object) etag(row map[string]any, version int64) string {
	h := sha256.New()
	part := make([]byte, 0, 128)
	for i := range o.fields {
		f := &o.fields[i]
		value := o.value(f, row)
		if value == nil {
			continue
		}
		text := asText(value)
		if b, ok := value.(bool); ok {
			text = strconv.FormatBool(b)
		}
		part = append(append(part[:0], f.Name...), 0)
		part = append(strconv.AppendInt(part, int64(len(text)), 10), 0)
		_, _ = h.Write(append(part, text...)) // a hash takes everything
	}
	return strconv.FormatInt(version, 36) + "-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// EtagTime returns when a record with this etag had last changed, by Salesforce's clock. It reports false for text that is none
// of our etags.
func EtagTime(etag string) (time.Time, bool) {
	version, hash, ok := strings.Cut(etag, "-")
	ms, err := strconv.ParseInt(version, 36, 64)
	if !ok || err != nil || ms <= 0 || len(hash) != 16 || strings.Trim(hash, "0123456789abcdef") != "" {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}
