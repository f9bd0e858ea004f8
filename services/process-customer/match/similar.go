package match

// maxCompared is the number of bytes of a value that similarity looks at; what differs only behind them is the same.
const maxCompared = 64

// jaroWinkler returns the Jaro-Winkler similarity of two ASCII strings, 0 to 1. It does not allocate.
func jaroWinkler(a, b string) float64 {
	if a == b {
		return 1
	}
	if len(a) > maxCompared {
		a = a[:maxCompared]
	}
	if len(b) > maxCompared {
		b = b[:maxCompared]
	}
	if len(a) > len(b) || (len(a) == len(b) && a > b) {
		a, b = b, a
	}
	if a == "" {
		return 0
	}
	window := max(len(b)/2-1, 0)
	var usedA, usedB uint64
	matches := 0
	for i := range len(a) {
		lo, hi := max(0, i-window), min(len(b)-1, i+window)
		for j := lo; j <= hi; j++ {
			if usedB&(1<<j) == 0 && a[i] == b[j] {
				usedA |= 1 << i
				usedB |= 1 << j
				matches++
				break
			}
		}
	}
	if matches == 0 {
		return 0
	}
	transposed, j := 0, 0
	for i := range len(a) {
		if usedA&(1<<i) == 0 {
			continue
		}
		for usedB&(1<<j) == 0 {
			j++
		}
		if a[i] != b[j] {
			transposed++
		}
		j++
	}
	m := float64(matches)
	jaro := (m/float64(len(a)) + m/float64(len(b)) + (m-float64(transposed/2))/m) / 3
	prefix := 0
	for prefix < len(a) && prefix < 4 && a[prefix] == b[prefix] {
		prefix++
	}
	return jaro + float64(prefix)*0.1*(1-jaro)
}

// edits returns the optimal string alignment distance of two ASCII strings (insertions, deletions, replacements,
// exchanges of neighbours), or limit+1 when it is greater than limit. It does not allocate.
func edits(a, b string, limit int) int {
	if a == b {
		return 0
	}
	if len(a) > maxCompared {
		a = a[:maxCompared]
	}
	if len(b) > maxCompared {
		b = b[:maxCompared]
	}
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	var rows [3][maxCompared + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		best := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
			best = min(best, d)
		}
		if best > limit {
			return limit + 1
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit+1)
}

// near reports whether two words are one with a typing error: one edit, two in long words.
func near(a, b string) bool {
	n := max(len(a), len(b))
	switch {
	case n < 4:
		return a == b
	case n < 10:
		return edits(a, b, 1) <= 1
	default:
		return edits(a, b, 2) <= 2
	}
}

// sound returns a short key of how a word sounds, for European languages: consonants in classes, vowels but the first
// dropped. Meyer, Maier and Mayr have one key.
func sound(word string) string {
	var out [6]byte
	n := 0
	var last byte
	for i := 0; i < len(word) && n < len(out); i++ {
		c := soundClass(word, i)
		if c == 0 {
			last = 0
			continue
		}
		if c == '-' || (c == last && c != 'a') {
			continue
		}
		if c == 'a' && n > 0 {
			last = 0
			continue
		}
		out[n], last = c, c
		n++
	}
	return string(out[:n])
}

// soundClass returns the class of the letter at i: 'a' for vowels, '-' for silent ones, 0 for what is no letter.
func soundClass(w string, i int) byte {
	next := byte(0)
	if i+1 < len(w) {
		next = w[i+1]
	}
	switch c := w[i]; c {
	case 'a', 'e', 'i', 'o', 'u', 'y', 'j':
		return 'a'
	case 'h':
		return '-'
	case 'w':
		return 'f'
	case 'b':
		return 'p'
	case 'p':
		if next == 'h' {
			return 'f'
		}
		return 'p'
	case 'f', 'v':
		return 'f'
	case 'd', 't':
		return 't'
	case 'c':
		if next == 'e' || next == 'i' || next == 'y' {
			return 's'
		}
		if next == 'h' && i > 0 && w[i-1] == 's' {
			return '-'
		}
		return 'k'
	case 'g', 'k', 'q':
		return 'k'
	case 's', 'z', 'x':
		return 's'
	case 'l':
		return 'l'
	case 'm', 'n':
		return 'n'
	case 'r':
		return 'r'
	default:
		if c >= '0' && c <= '9' {
			return c
		}
		return 0
	}
}
