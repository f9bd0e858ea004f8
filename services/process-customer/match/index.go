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
	// keyBits is what a key of one record tells, in bits. It is fixed, so that the order of candidates does not depend on
	// how many other records there are.
	keyBits = 16.0
)

// Index finds candidates among records in memory. It is not safe for concurrent use.
type Index struct {
	buckets map[Key][]int32
	keys    [][]Key
	names   []string
	free    []int32
	counts  map[int32]float64
	found   []int32
	// keyCap and most are KeyCap and CandidateCap, but in tests.
	keyCap, most int
}

// NewIndex returns an empty index.
func NewIndex() *Index {
	return &Index{buckets: map[Key][]int32{}, counts: map[int32]float64{}, keyCap: KeyCap, most: CandidateCap}
}

// Add adds a record by its keys and returns its number; numbers count from 0, those of removed records are used again.
// The record puts candidates that are as good as others in an order that does not depend on arrival.
func (ix *Index) Add(p *Prepared, keys []Key) int {
	n := int32(len(ix.keys))
	if last := len(ix.free) - 1; last >= 0 {
		n = ix.free[last]
		ix.free = ix.free[:last]
		ix.keys[n], ix.names[n] = keys, p.name()
	} else {
		ix.keys, ix.names = append(ix.keys, keys), append(ix.names, p.name())
	}
	for _, k := range keys {
		ix.buckets[k] = append(ix.buckets[k], n)
	}
	return int(n)
}

// Remove takes a record out.
func (ix *Index) Remove(n int) {
	for _, k := range ix.keys[n] {
		bucket := ix.buckets[k]
		at := slices.Index(bucket, int32(n))
		bucket[at] = bucket[len(bucket)-1]
		if bucket = bucket[:len(bucket)-1]; len(bucket) == 0 {
			delete(ix.buckets, k)
		} else {
			ix.buckets[k] = bucket
		}
	}
	ix.keys[n], ix.names[n] = nil, ""
	ix.free = append(ix.free, int32(n))
}

// Candidates returns the numbers of the records that share keys with n, those with the rarest keys first, at most
// CandidateCap. The result is valid until the next call.
func (ix *Index) Candidates(n int) []int32 {
	ix.lookup(ix.keys[n], n)
	return ix.found
}

// Lookup is Candidates for keys of a record that is not in the index.
func (ix *Index) Lookup(keys []Key) []int32 {
	ix.lookup(keys, -1)
	return ix.found
}

func (ix *Index) lookup(keys []Key, self int) {
	clear(ix.counts)
	ix.found = ix.found[:0]
	for _, k := range keys {
		bucket := ix.buckets[k]
		if len(bucket) > ix.keyCap {
			continue
		}
		w := KeyWeight(len(bucket))
		for _, other := range bucket {
			if int(other) != self {
				ix.counts[other] += w
			}
		}
	}
	for other := range ix.counts {
		ix.found = append(ix.found, other)
	}
	slices.SortFunc(ix.found, func(a, b int32) int {
		return cmp.Or(cmp.Compare(ix.counts[b], ix.counts[a]), cmp.Compare(ix.names[a], ix.names[b]))
	})
	ix.found = ix.found[:min(ix.most, len(ix.found))]
}

// KeyWeight is what sharing a key of n records tells, in bits: a rare one tells more.
func KeyWeight(n int) float64 { return keyBits - math.Log2(float64(n)) }

// name orders records by something that does not depend on arrival.
func (p *Prepared) name() string { return p.Source + "\x00" + p.ID }
