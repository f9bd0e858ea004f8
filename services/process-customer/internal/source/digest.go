package source

import (
	"context"

	"github.com/selfsame-io/selfsame/pkg/fault"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// Span is a stretch of stamps; without an end when Until is zero.
type Span struct{ From, Until int64 }

// Digest sums up the live records of a span.
type Digest struct {
	// Count is how many there are, First and Last are the ends of their stamps, zero when there are none.
	Count, First, Last int64
	// Sum is that of the stamps, each modulo DigestModulus; meaningless unless Summed.
	Sum    int64
	Summed bool
}

// DigestModulus is what stamps are divided by before their remainders are added up.
const DigestModulus = 2147483647

// Stamped is a live record and its stamp.
type Stamped struct {
	ID string
	At int64
}

// Comparer is a System whose records can be compared with what is known of them without being read. A stamp is when a
// record last changed by the system's clock: every change of a record gives it a later one, or the same where the clock
// is coarse.
type Comparer interface {
	System
	// ByVersion is true when a record's stamp is its Version, false when it is its EventTime in microseconds.
	ByVersion() bool
	// StampsPerSecond is how many stamps make a second.
	StampsPerSecond() int64
	// Digest sums up spans, in order, and tells how many calls that took.
	Digest(ctx context.Context, obj golden.Object, spans []Span) ([]Digest, int64, error)
	// Stamps returns one page of the live records of a span in the order of their stamps, the token of the next page, empty
	// after the last one, and how many calls that took.
	Stamps(ctx context.Context, obj golden.Object, span Span, pageToken string) ([]Stamped, string, int64, error)
	// ReadCalls is how many calls it takes to read n records whole.
	ReadCalls(n int64) int64
}

var (
	_ Comparer = (*Salesforce)(nil)
	_ Comparer = (*ERP)(nil)
)

// calls counts a call of a service that has no vendor behind it as one.
func calls(vendor int64) int64 { return max(1, vendor) }

func pages(n, size int64) int64 { return max(1, (n+size-1)/size) }

// ByVersion implements Comparer: versions are milliseconds of the CRM's clock.
func (s *Salesforce) ByVersion() bool { return true }

// StampsPerSecond implements Comparer.
func (s *Salesforce) StampsPerSecond() int64 { return 1000 }

// ReadCalls implements Comparer.
func (s *Salesforce) ReadCalls(n int64) int64 { return pages(n, salesforcePage) }

func salesforceObject(obj golden.Object) string {
	if obj == golden.Contact {
		return "contact"
	}
	return "account"
}

// Digest implements Comparer.
func (s *Salesforce) Digest(ctx context.Context, obj golden.Object, spans []Span) ([]Digest, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	req := &salesforcev1.DigestRecordsRequest{Object: salesforceObject(obj)}
	for _, r := range spans {
		req.Ranges = append(req.Ranges, &salesforcev1.StampRange{From: r.From, Until: r.Until})
	}
	resp, err := s.changes.DigestRecords(ctx, req)
	if err != nil {
		return nil, 1, fault.FromStatus(err)
	}
	out := make([]Digest, 0, len(spans))
	for _, d := range resp.GetDigests() {
		out = append(out, Digest{Count: d.GetCount(), First: d.GetFirst(), Last: d.GetLast()})
	}
	return out, calls(resp.GetVendorCalls()), complete(len(out), len(spans))
}

// Stamps implements Comparer.
func (s *Salesforce) Stamps(ctx context.Context, obj golden.Object, span Span, pageToken string) ([]Stamped, string, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := s.changes.ListStamps(ctx, &salesforcev1.ListStampsRequest{
		Object: salesforceObject(obj), Range: &salesforcev1.StampRange{From: span.From, Until: span.Until}, PageToken: pageToken,
	})
	if err != nil {
		return nil, "", 1, fault.FromStatus(err)
	}
	out := make([]Stamped, 0, len(resp.GetStamps()))
	for _, r := range resp.GetStamps() {
		out = append(out, Stamped{r.GetId(), r.GetStamp()})
	}
	return out, resp.GetNextPageToken(), calls(resp.GetVendorCalls()), nil
}

// ByVersion implements Comparer: versions of the ERP are a counter per record, its times are exact.
func (e *ERP) ByVersion() bool { return false }

// StampsPerSecond implements Comparer.
func (e *ERP) StampsPerSecond() int64 { return 1_000_000 }

// ReadCalls implements Comparer.
func (e *ERP) ReadCalls(n int64) int64 { return pages(n, erpPage) }

// Digest implements Comparer.
func (e *ERP) Digest(ctx context.Context, obj golden.Object, spans []Span) ([]Digest, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	req := &erpv1.DigestRecordsRequest{Object: string(obj)}
	for _, r := range spans {
		req.Ranges = append(req.Ranges, &erpv1.StampRange{From: r.From, Until: r.Until})
	}
	resp, err := e.changes.DigestRecords(ctx, req)
	if err != nil {
		return nil, 1, fault.FromStatus(err)
	}
	out := make([]Digest, 0, len(spans))
	for _, d := range resp.GetDigests() {
		out = append(out, Digest{Count: d.GetCount(), First: d.GetFirst(), Last: d.GetLast(), Sum: d.GetSum(), Summed: true})
	}
	return out, calls(resp.GetVendorCalls()), complete(len(out), len(spans))
}

// Stamps implements Comparer.
func (e *ERP) Stamps(ctx context.Context, obj golden.Object, span Span, pageToken string) ([]Stamped, string, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := e.changes.ListStamps(ctx, &erpv1.ListStampsRequest{
		Object: string(obj), Range: &erpv1.StampRange{From: span.From, Until: span.Until}, PageToken: pageToken,
	})
	if err != nil {
		return nil, "", 1, fault.FromStatus(err)
	}
	out := make([]Stamped, 0, len(resp.GetStamps()))
	for _, r := range resp.GetStamps() {
		out = append(out, Stamped{r.GetId(), r.GetStamp()})
	}
	return out, resp.GetNextPageToken(), calls(resp.GetVendorCalls()), nil
}

func complete(got, want int) error {
	if got != want {
		return fault.New(fault.Internal, fault.ReasonInternal, "the service summed up %d of %d ranges", got, want)
	}
	return nil
}
