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
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) == 0 || len(b) == 0 {
		return max(len(a), len(b))
	}
	if limit == 1 { // what is left differs at both ends
		if len(a) == 1 && len(b) == 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0] {
			return 1
		}
		return 2
	}
	return min(distance(a, b, limit), limit+1)
}

// distance is edits of strings of at most maxCompared bytes. Where the numbers of letters that were read of each are more than
// limit apart, so are the strings.
func distance(a, b string, limit int) int {
	var rows [3][maxCompared + 1]uint8
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range min(limit, len(b)) + 1 {
		last[j] = uint8(j)
	}
	far := uint8(min(limit+1, maxCompared)) //nolint:gosec // small
	for i := 1; i <= len(a); i++ {
		from, to := max(1, i-limit), min(len(b), i+limit)
		row[from-1] = far
		if i <= limit {
			row[0] = uint8(i)
		}
		best := row[from-1]
		if to == i+limit {
			last[to] = far // it was not worked out
		}
		for j := from; j <= to; j++ {
			cost := uint8(1)
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
		if int(best) > limit {
			return limit + 1
		}
		before, last, row = last, row, before
	}
	return int(last[len(b)])
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
