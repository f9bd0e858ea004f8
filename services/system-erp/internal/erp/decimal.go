package erp

import (
	"errors"
	"math/big"
	"strings"
)

// scale is how many digits a Decimal keeps after the point; the contract allows no more.
const scale = 6

// maxWhole is how many digits a Decimal may have before the point.
const maxWhole = 15

// ErrDecimal is returned for a text that is not a decimal number of at most 15 digits before and 6 after the point.
var ErrDecimal = errors.New("not a decimal number")

// Decimal is an exact number with six digits after the point. The zero value is 0. It is immutable.
type Decimal struct{ micro *big.Int }

// ParseDecimal reads "-12.345". Empty text, exponents, fractions and longer numbers are ErrDecimal.
func ParseDecimal(s string) (Decimal, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, point := strings.Cut(digits, ".")
	if len(whole) == 0 || len(whole) > maxWhole || len(frac) > scale || point && frac == "" {
		return Decimal{}, ErrDecimal
	}
	for _, c := range whole + frac {
		if c < '0' || c > '9' {
			return Decimal{}, ErrDecimal
		}
	}
	n, ok := new(big.Int).SetString(whole+frac+strings.Repeat("0", scale-len(frac)), 10)
	if !ok {
		return Decimal{}, ErrDecimal
	}
	if negative {
		n.Neg(n)
	}
	return Decimal{n}, nil
}

// Micro returns the decimal of n millionths.
func Micro(n *big.Int) Decimal { return Decimal{new(big.Int).Set(n)} }

// Micro returns d in millionths; the caller may change it.
func (d Decimal) Micro() *big.Int {
	if d.micro == nil {
		return new(big.Int)
	}
	return new(big.Int).Set(d.micro)
}

// Add returns d + e.
func (d Decimal) Add(e Decimal) Decimal { return Decimal{new(big.Int).Add(d.Micro(), e.Micro())} }

// Sub returns d − e.
func (d Decimal) Sub(e Decimal) Decimal { return Decimal{new(big.Int).Sub(d.Micro(), e.Micro())} }

// Cmp compares d and e by value: 1.5 equals 1.50.
func (d Decimal) Cmp(e Decimal) int { return d.Micro().Cmp(e.Micro()) }

// Sign is -1, 0 or 1.
func (d Decimal) Sign() int { return d.Micro().Sign() }

// Fits tells whether d has at most 15 digits before the point, as the contract demands.
func (d Decimal) Fits() bool {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(maxWhole+scale), nil)
	return new(big.Int).Abs(d.Micro()).Cmp(limit) < 0
}

// Mul returns d × e rounded to digits after the point (at most 6), halves away from zero, as invoices do.
func (d Decimal) Mul(e Decimal, digits int) Decimal {
	digits = min(max(digits, 0), scale)
	product := new(big.Int).Mul(d.Micro(), e.Micro()) // 12 digits after the point
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(2*scale-digits)), nil)
	quo, rem := new(big.Int).QuoRem(product, unit, new(big.Int))
	if rem.Abs(rem).Lsh(rem, 1).Cmp(unit) >= 0 {
		quo.Add(quo, big.NewInt(int64(product.Sign())))
	}
	return Decimal{quo.Mul(quo, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale-digits)), nil))}
}

// String writes d without needless zeros: "12.5".
func (d Decimal) String() string { return d.Fixed(0) }

// Fixed writes d with at least digits after the point: "12.50".
func (d Decimal) Fixed(digits int) string {
	n := d.Micro()
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
	}
	s := n.Abs(n).String()
	if len(s) <= scale {
		s = strings.Repeat("0", scale+1-len(s)) + s
	}
	whole, frac := s[:len(s)-scale], s[len(s)-scale:]
	for len(frac) > min(digits, scale) && frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	if frac == "" {
		return sign + whole
	}
	return sign + whole + "." + frac
}

// Money is an amount in a currency. The zero value means "no amount given".
type Money struct {
	Amount   Decimal
	Currency string
}

// Given tells whether there is an amount: money without a currency is none.
func (m Money) Given() bool { return m.Currency != "" }

// Equal compares by value.
func (m Money) Equal(o Money) bool { return m.Currency == o.Currency && m.Amount.Cmp(o.Amount) == 0 }

// Text writes the amount with at least as many digits as the currency has: "1299.90".
func (m Money) Text() string { return m.Amount.Fixed(MinorDigits(m.Currency)) }

// MinorDigits is how many digits after the point a currency has in ISO 4217.
func MinorDigits(currency string) int {
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	default:
		return 2
	}
}
