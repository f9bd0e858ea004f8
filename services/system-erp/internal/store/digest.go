package store

import "context"

// Span is a stretch of the time of the last change of a record, in microseconds; without an end when Until is zero.
type Span struct{ From, Until int64 }

// DigestModulus is what times are divided by before their remainders are added up.
const DigestModulus = 2147483647

// Digest sums up the live records of a span: how many, the ends of their times, and the sum of the times, each modulo
// DigestModulus. Two copies of the same records have the same digest, and almost any change of a record changes it.
type Digest struct{ Count, First, Last, Sum int64 }

// Stamped is a live record and when it last changed, in microseconds.
type Stamped struct {
	ID string
	At int64
}

// StampCursor is the place after one record in the order of Stamps.
type StampCursor struct {
	At int64  `json:"t"`
	ID string `json:"i"`
}

// Digests is what lets a copy of the records be compared without reading them.
type Digests interface {
	// Digest sums up spans, in order, as they are at one moment.
	Digest(ctx context.Context, spans []Span) ([]Digest, error)
	// Stamps returns up to limit live records of a span after a cursor, in the order of (At, ID).
	Stamps(ctx context.Context, span Span, after *StampCursor, limit int) ([]Stamped, error)
}
