package match

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainEdits is what edits means.
func plainEdits(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			switch {
			case i == 0 || j == 0:
				d[i][j] = i + j
			case a[i-1] == b[j-1]:
				d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1])
			default:
				d[i][j] = min(d[i-1][j], d[i][j-1], d[i-1][j-1]) + 1
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

func TestEdits(t *testing.T) {
	t.Parallel()
	t.Run("it is the distance, or one more than the limit", func(t *testing.T) {
		t.Parallel()
		words := []string{""}
		for i := 0; len(words) < 400; i++ { // all short words of three letters
			words = append(words, words[i]+"a", words[i]+"b", words[i]+"c")
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			b := make([]byte, 6+rng.IntN(7))
			for i := range b {
				b[i] = "abcd"[rng.IntN(4)]
			}
			words = append(words, string(b))
		}
		for range 8000 {
			a, b := words[rng.IntN(len(words))], words[rng.IntN(len(words))]
			all := plainEdits(a, b)
			for limit := 1; limit <= 5; limit++ {
				if got, want := edits(a, b, limit), min(all, limit+1); got != want {
					require.Equal(t, want, got, "%q %q up to %d", a, b, limit)
				}
			}
		}
	})
}
