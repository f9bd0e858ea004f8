package erp

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func dec(t testing.TB, s string) Decimal {
	t.Helper()
	d, err := ParseDecimal(s)
	require.NoError(t, err)
	return d
}

func TestDecimal(t *testing.T) {
	t.Parallel()
	t.Run("texts that are no decimal numbers are refused", func(t *testing.T) {
		t.Parallel()
		for _, s := range []string{"", "-", ".", "1.", ".5", "+1", "1e9", "1/2", " 1", "1 ", "0x1", "1.0000001", "1234567890123456", "--1", "١"} {
			_, err := ParseDecimal(s)
			require.ErrorIs(t, err, ErrDecimal, "%q", s)
		}
	})
	t.Run("numbers are written without needless zeros", func(t *testing.T) {
		t.Parallel()
		for in, want := range map[string]string{
			"0": "0", "-0": "0", "0.000001": "0.000001", "-1.50": "-1.5", "007": "7", "999999999999999.999999": "999999999999999.999999",
		} {
			require.Equal(t, want, dec(t, in).String())
		}
		require.Equal(t, "0", Decimal{}.String())
		require.Equal(t, "1299.90", Money{Amount: dec(t, "1299.9"), Currency: "EUR"}.Text())
		require.Equal(t, "5", Money{Amount: dec(t, "5"), Currency: "JPY"}.Text())
		require.Equal(t, "0.005", Money{Amount: dec(t, "0.005"), Currency: "EUR"}.Text())
	})
	t.Run("products are rounded half away from zero", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			a, b   string
			digits int
			want   string
		}{
			{"3", "0.005", 2, "0.02"},
			{"-3", "0.005", 2, "-0.02"},
			{"1", "0.0049", 2, "0"},
			{"1.5", "1", 0, "2"},
			{"2.5", "1", 0, "3"},
			{"0.1", "0.2", 6, "0.02"},
			{"1299.90", "2", 2, "2599.8"},
		} {
			require.Equal(t, c.want, dec(t, c.a).Mul(dec(t, c.b), c.digits).String(), "%s × %s", c.a, c.b)
		}
	})
}

// FuzzDecimal compares with exact fractions.
func FuzzDecimal(f *testing.F) {
	f.Add("1.5", "-2.000001")
	f.Add("0", "999999999999999.999999")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := ParseDecimal(a)
		if err != nil {
			return
		}
		y, err := ParseDecimal(b)
		if err != nil {
			return
		}
		rx, ok := new(big.Rat).SetString(a)
		require.True(t, ok)
		ry, _ := new(big.Rat).SetString(b)
		exact := func(d Decimal) *big.Rat { return new(big.Rat).SetFrac(d.Micro(), big.NewInt(1_000_000)) }
		require.Zero(t, exact(x).Cmp(rx))
		require.Zero(t, exact(x.Add(y)).Cmp(new(big.Rat).Add(rx, ry)))
		require.Zero(t, exact(x.Sub(y)).Cmp(new(big.Rat).Sub(rx, ry)))
		want := new(big.Rat).Mul(rx, ry).FloatString(2)
		require.Equal(t, trim(want), x.Mul(y, 2).String())
		again, err := ParseDecimal(x.String())
		require.NoError(t, err)
		require.Zero(t, x.Cmp(again))
	})
}

func trim(s string) string {
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" || s == "-" || s == "" {
		return "0"
	}
	return s
}
