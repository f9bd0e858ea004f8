package match

import (
	"cmp"
	"math"
	"slices"
)

// The limits of looking up.
const (
	// KeyCap is the number of records above which a key is too common to find anything by.
	KeyCap = 64
	// CandidateCap is the greatest number of candidates of one record.
	CandidateCap = 200
)

// Index finds candidates among records in memory. It is not safe for concurrent use.
type Index struct {
	buckets map[Key][]int32
	keys    [][]Key
	counts  map[int32]float64
	found   []int32
}

// NewIndex returns an empty index.
func NewIndex() *Index { return &Index{buckets: map[Key][]int32{}, counts: map[int32]float64{}} }

// Add adds a record by its keys and returns its number; numbers count from 0.
func (ix *Index) Add(keys []Key) int {
	n := int32(len(ix.keys))
	ix.keys = append(ix.keys, keys)
	for _, k := range keys {
		ix.buckets[k] = append(ix.buckets[k], n)
	}
	return int(n)
}

// Candidates returns the numbers of the records that share keys with n, those with the rarest keys first, at most
// CandidateCap. The result is valid until the next call.
func (ix *Index) Candidates(n int) []int32 {
	clear(ix.counts)
	ix.found = ix.found[:0]
	all := math.Log2(float64(len(ix.keys)) + 1)
	for _, k := range ix.keys[n] {
		bucket := ix.buckets[k]
		if len(bucket) > KeyCap {
			continue
		}
		w := all - math.Log2(float64(len(bucket))) + 0.1
		for _, other := range bucket {
			if int(other) != n {
				ix.counts[other] += w
			}
		}
	}
	for other := range ix.counts {
		ix.found = append(ix.found, other)
	}
	slices.SortFunc(ix.found, func(a, b int32) int {
		return cmp.Or(cmp.Compare(ix.counts[b], ix.counts[a]), cmp.Compare(a, b))
	})
	return ix.found[:min(CandidateCap, len(ix.found))]
}
