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
	edits, changed := diffLines(strings.Split(old, "\n"), strings.Split(fresh, "\n"))
	if edits == nil || 4*changed > len(strings.Split(old, "\n"))+len(strings.Split(fresh, "\n")) {
		return "", false
	}
	d := fmt.Sprintf("--- \n+++ %x\n", sha256.Sum256([]byte(fresh))) + unified(edits)
	return d, len(d) <= len(fresh)
}

// edit is one line of a comparison: kept, gone or new, as in a difference.
type edit struct {
	mark byte
	line string
}

// maxCells bounds the work of a comparison; beyond it whole values are sent.
const maxCells = 4 << 20

// diffLines compares by the longest common subsequence, and counts the lines
// that differ. It returns nil if that would take too long.
func diffLines(a, b []string) (out []edit, changed int) {
	head, tail := 0, 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		out = append(out, edit{' ', a[head]})
		head++
	}
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y, end := a[head:len(a)-tail], b[head:len(b)-tail], a[len(a)-tail:]
	if len(x)*len(y) > maxCells {
		return nil, 0
	}
	// common[i][j] is the length of the common part of x[i:] and y[j:].
	common := make([][]int32, len(x)+1)
	for i := range common {
		common[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			out = append(out, edit{' ', x[i]})
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && common[i+1][j] >= common[i][j+1]:
			out = append(out, edit{'-', x[i]})
			i, changed = i+1, changed+1
		default:
			out = append(out, edit{'+', y[j]})
			j, changed = j+1, changed+1
		}
	}
	for _, l := range end {
		out = append(out, edit{' ', l})
	}
	return out, changed
}

// unified writes the hunks of a comparison.
func unified(edits []edit) string {
	var hunks []string
	old, fresh := 0, 0 // lines before the current one
	for i := 0; i < len(edits); {
		if edits[i].mark == ' ' {
			i, old, fresh = i+1, old+1, fresh+1
			continue
		}
		from, to, quiet := max(0, i-diffContext), i, 0
		for to < len(edits) && quiet <= 2*diffContext {
			if edits[to].mark == ' ' {
				quiet++
			} else {
				quiet = 0
			}
			to++
		}
		to -= max(0, quiet-diffContext)
		hunks = append(hunks, hunk(edits[from:to], old-(i-from), fresh-(i-from)))
		for ; i < to; i++ {
			if edits[i].mark != '+' {
				old++
			}
			if edits[i].mark != '-' {
				fresh++
			}
		}
	}
	return strings.Join(hunks, "\n")
}

func hunk(edits []edit, old, fresh int) string {
	gone, come := 0, 0
	lines := make([]string, len(edits))
	for i, e := range edits {
		lines[i] = string(e.mark) + e.line
		if e.mark != '+' {
			gone++
		}
		if e.mark != '-' {
			come++
		}
	}
	return fmt.Sprintf("@@ -%s +%s @@\n", span(old, gone), span(fresh, come)) + strings.Join(lines, "\n")
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
