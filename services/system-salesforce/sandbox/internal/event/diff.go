package event

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
)

// When a changed text travels as a difference, after the vendor's rules: it
// must be long, and the difference must be worth it.
const (
	diffLength  = 1000 // characters of the new value
	diffContext = 3    // unchanged lines around a change
)

// textDiff makes the unified difference of a changed large text, whose header
// carries the SHA-256 of the new value. It reports false if the whole value is
// to be sent.
func textDiff(f *schema.Field, before, after any) (string, bool) {
	old, ok1 := before.(string)
	fresh, ok2 := after.(string)
	if f.Type != schema.TextArea || !ok1 || !ok2 || len(fresh) < diffLength || 2*abs(len(fresh)-len(old)) > len(fresh) {
		return "", false
	}
	a, b := strings.Split(old, "\n"), strings.Split(fresh, "\n")
	head, tail := 0, 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	gone, come := a[head:len(a)-tail], b[head:len(b)-tail]
	if 4*(len(gone)+len(come)) > len(a)+len(b) {
		return "", false
	}
	first := max(0, head-diffContext)
	around := b[len(b)-tail : min(len(b), len(b)-tail+diffContext)]
	var out strings.Builder
	fmt.Fprintf(&out, "--- \n+++ %x\n", sha256.Sum256([]byte(fresh)))
	same := head - first + len(around)
	fmt.Fprintf(&out, "@@ -%s +%s @@\n", span(first, same+len(gone)), span(first, same+len(come)))
	write := func(mark string, lines []string) {
		for _, l := range lines {
			out.WriteString(mark + l + "\n")
		}
	}
	write(" ", b[first:head])
	write("-", gone)
	write("+", come)
	write(" ", around)
	d := strings.TrimSuffix(out.String(), "\n")
	return d, len(d) <= len(fresh)
}

// span is a range of lines; an empty one names the line before it.
func span(first, n int) string {
	if n == 0 {
		return fmt.Sprintf("%d,0", first)
	}
	return fmt.Sprintf("%d,%d", first+1, n)
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
