package survive

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a rule file.
type Problem struct {
	// Line is counted from 1; zero when no line is to blame.
	Line int
	// Path is the place in the file, for example "objects.customer.fields.email.master".
	Path string
	// Text says what is wrong.
	Text string
}

// Problems are all things wrong with a rule file, in the order of its lines.
type Problems []Problem

// Error returns one line per problem.
func (p Problems) Error() string {
	var b strings.Builder
	for i, problem := range p {
		if i > 0 {
			b.WriteByte('\n')
		}
		if problem.Line > 0 {
			fmt.Fprintf(&b, "line %d: ", problem.Line)
		}
		if problem.Path != "" {
			b.WriteString(problem.Path + ": ")
		}
		b.WriteString(problem.Text)
	}
	return b.String()
}

// didYouMean returns a hint when one of words is close to got.
func didYouMean(got string, words []string) string {
	best, least := "", 3
	for _, w := range words {
		if d := distance(got, w); d < least && d < len(w) {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
