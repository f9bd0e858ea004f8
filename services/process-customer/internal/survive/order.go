package survive

import (
	"cmp"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// minBucket is the least width of a bucket: times are stored in microseconds.
const minBucket = time.Microsecond

// maxFuture is how much later than its receipt an edit may count where the rules do not say.
const maxFuture = 5 * time.Minute

// word is a claim as the rules see it.
type word struct {
	*golden.Claim
	// value is the claim's after the blank vocabulary and the normalisers of the field.
	value string
	// at is when the claim counts as made.
	at time.Time
}

// newer orders two claims of one record about one field; positive when a is the newer word. Versions decide; what
// follows only makes sure that a source which breaks its own promise (one version, two values) still has one winner.
func newer(a, b *golden.Claim) int {
	return cmp.Or(
		cmp.Compare(a.Version, b.Version),
		a.EventTime.Compare(b.EventTime),
		compareBool(a.Value != "", b.Value != ""),
		strings.Compare(a.Value, b.Value),
		strings.Compare(a.ChangeID, b.ChangeID),
		a.Received.Compare(b.Received),
		strings.Compare(string(a.Hold), string(b.Hold)),
		strings.Compare(a.Over, b.Over),
	)
}

// better orders two claims of different records; positive when a wins. It is one lexicographic order over the claims,
// hence total. Equal times, within a bucket, are decided by the system's priority, because clocks of different systems
// cannot tell more.
func (r *Rules) better(rule *rule, a, b *word) int {
	return cmp.Or(r.preferred(rule, a, b), r.later(rule, a, b))
}

// preferred is what a strategy looks at before time.
func (r *Rules) preferred(rule *rule, a, b *word) int {
	if rule.Unit == "" && rule.Strategy.needsValue() {
		if c := compareBool(a.value != "", b.value != ""); c != 0 {
			return c
		}
	}
	switch rule.Strategy {
	case longest:
		return cmp.Compare(utf8.RuneCountInString(a.value), utf8.RuneCountInString(b.value))
	case shortest:
		return cmp.Compare(utf8.RuneCountInString(b.value), utf8.RuneCountInString(a.value))
	case least:
		return compareSize(b.value, a.value)
	case greatest:
		return compareSize(a.value, b.value)
	case priority, trust:
		// A system that never wins has no place; among losers it comes last.
		x, rankedA := r.rank(rule, a.Ref.System)
		y, rankedB := r.rank(rule, b.Ref.System)
		return cmp.Or(compareBool(rankedA, rankedB), cmp.Compare(y, x))
	default:
		return 0
	}
}

// needsValue reports whether an empty value can never be better than another one.
func (s strategy) needsValue() bool {
	return slices.Contains([]strategy{trust, longest, shortest, least, greatest, union}, s)
}

// later orders by time, then by what is left so that there is always exactly one winner.
func (r *Rules) later(rule *rule, a, b *word) int {
	return cmp.Or(
		cmp.Compare(bucketOf(a.at, rule.Bucket), bucketOf(b.at, rule.Bucket)),
		cmp.Compare(r.priorities[a.Ref.System], r.priorities[b.Ref.System]),
		a.at.Compare(b.at),
		cmp.Compare(a.Version, b.Version),
		strings.Compare(a.Ref.System, b.Ref.System),
		strings.Compare(a.Ref.RecordID, b.Ref.RecordID),
		strings.Compare(string(a.Ref.Object), string(b.Ref.Object)),
		strings.Compare(a.Value, b.Value),
		strings.Compare(a.ChangeID, b.ChangeID),
		newer(a.Claim, b.Claim),
	)
}

// bucketOf returns the number of the bucket a time falls into, rounded towards the past also before 1970.
func bucketOf(t time.Time, width time.Duration) int64 {
	us, w := t.UnixMicro(), width.Microseconds()
	n := us / w
	if us%w < 0 {
		n--
	}
	return n
}

var decimal = regexp.MustCompile(`^[+-]?[0-9]{1,100}(\.[0-9]{1,100})?$`)

// compareSize orders numbers by size, before all other text, which is ordered by its bytes: dates as 2026-03-01 come in
// order. (Comparing a number with other text as text would not be transitive.)
func compareSize(a, b string) int {
	x, y := decimal.MatchString(a), decimal.MatchString(b)
	if x != y {
		return compareBool(y, x)
	}
	if x {
		p, okP := new(big.Rat).SetString(a)
		q, okQ := new(big.Rat).SetString(b)
		if okP && okQ {
			return p.Cmp(q)
		}
	}
	return strings.Compare(a, b)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

func compareRef(a, b golden.Ref) int {
	return cmp.Or(
		strings.Compare(a.System, b.System),
		strings.Compare(string(a.Object), string(b.Object)),
		strings.Compare(a.RecordID, b.RecordID),
	)
}

// byRecord sorts words about one field so that those of one record stand together, newest first, and drops repetitions.
func byRecord(words []word) []word {
	if len(words) < 2 {
		return words
	}
	slices.SortFunc(words, func(a, b word) int {
		return cmp.Or(compareRef(a.Ref, b.Ref), newer(b.Claim, a.Claim))
	})
	return slices.CompactFunc(words, func(a, b word) bool {
		return a.Ref == b.Ref && newer(a.Claim, b.Claim) == 0
	})
}
