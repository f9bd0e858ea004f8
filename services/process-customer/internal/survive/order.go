package survive

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// minBucket is the least width of a bucket: times are stored in microseconds.
const minBucket = time.Microsecond

// newer orders two claims of one record about one field; positive when a is the newer word. Versions decide; what
// follows only makes sure that a source which breaks its own promise (one version, two values) still has one winner.
func newer(a, b *golden.Claim) int {
	return cmp.Or(
		cmp.Compare(a.Version, b.Version),
		a.EventTime.Compare(b.EventTime),
		compareBool(a.Value != "", b.Value != ""),
		strings.Compare(a.Value, b.Value),
		strings.Compare(a.ChangeID, b.ChangeID),
	)
}

// better orders two claims of different records; positive when a wins. It is one lexicographic order over the claims,
// hence total. Equal times, within a bucket, are decided by the system's priority, because clocks of different systems
// cannot tell more.
func (r *Rules) better(rule *rule, a, b *golden.Claim) int {
	if rule.Strategy == longest {
		if c := cmp.Compare(utf8.RuneCountInString(a.Value), utf8.RuneCountInString(b.Value)); c != 0 {
			return c
		}
	}
	return cmp.Or(
		cmp.Compare(bucketOf(a.EventTime, rule.Bucket), bucketOf(b.EventTime, rule.Bucket)),
		cmp.Compare(r.priorities[a.Ref.System], r.priorities[b.Ref.System]),
		a.EventTime.Compare(b.EventTime),
		cmp.Compare(a.Version, b.Version),
		strings.Compare(a.Ref.System, b.Ref.System),
		strings.Compare(a.Ref.RecordID, b.Ref.RecordID),
		strings.Compare(string(a.Ref.Object), string(b.Ref.Object)),
		strings.Compare(a.Value, b.Value),
		strings.Compare(a.ChangeID, b.ChangeID),
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

// byRecord sorts claims about one field so that those of one record stand together, newest first, and drops repetitions.
func byRecord(claims []golden.Claim) []golden.Claim {
	slices.SortFunc(claims, func(a, b golden.Claim) int {
		return cmp.Or(compareRef(a.Ref, b.Ref), newer(&b, &a))
	})
	return slices.CompactFunc(claims, func(a, b golden.Claim) bool {
		return a.Ref == b.Ref && newer(&a, &b) == 0
	})
}
