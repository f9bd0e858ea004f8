package systemsalesforce_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
)

// stamps returns all ids with their times, and the calls it took.
func (s *service) stamps(t *testing.T, r *salesforcev1.StampRange, size int32) (map[string]int64, int64) {
	t.Helper()
	all, calls := map[string]int64{}, int64(0)
	for token := ""; ; {
		resp, err := s.changes.ListStamps(t.Context(), &salesforcev1.ListStampsRequest{Object: "account", Range: r, PageSize: size, PageToken: token})
		require.NoError(t, err)
		for _, x := range resp.GetStamps() {
			all[x.GetId()] = x.GetStamp()
		}
		calls += resp.GetVendorCalls()
		if token = resp.GetNextPageToken(); token == "" {
			return all, calls
		}
	}
}

func TestDigestRecords(t *testing.T) {
	t.Parallel()
	c := startSandbox(t)
	s := startReady(t, config(t, c))
	digest := func(ranges ...*salesforcev1.StampRange) *salesforcev1.DigestRecordsResponse {
		resp, err := s.changes.DigestRecords(t.Context(), &salesforcev1.DigestRecordsRequest{Object: "account", Ranges: ranges})
		require.NoError(t, err)
		require.Len(t, resp.GetDigests(), len(ranges))
		return resp
	}
	empty := digest(&salesforcev1.StampRange{})
	require.Zero(t, empty.GetDigests()[0].GetCount())
	require.Zero(t, empty.GetDigests()[0].GetLast())
	require.EqualValues(t, 1, empty.GetVendorCalls())

	var made []*salesforcev1.AccountUpsert
	for i := range 7 {
		made = append(made, account(fmt.Sprint("S-", i), fmt.Sprint("Company ", i)))
	}
	s.upsert(t, made...)
	all, calls := s.stamps(t, nil, 0)
	require.Len(t, all, 7)
	require.EqualValues(t, 1, calls)
	paged, calls := s.stamps(t, nil, 3)
	require.Equal(t, all, paged, "pages have no holes, also where all of them share a time")
	require.GreaterOrEqual(t, calls, int64(3))

	var first, last int64
	for _, at := range all {
		if first == 0 || at < first {
			first = at
		}
		last = max(last, at)
	}
	got := digest(&salesforcev1.StampRange{}, &salesforcev1.StampRange{From: first, Until: last + 1}, &salesforcev1.StampRange{From: last + 1}, &salesforcev1.StampRange{Until: first})
	require.EqualValues(t, 4, got.GetVendorCalls())
	for _, d := range got.GetDigests()[:2] {
		require.EqualValues(t, 7, d.GetCount())
		require.Equal(t, first, d.GetFirst())
		require.Equal(t, last, d.GetLast())
	}
	require.Zero(t, got.GetDigests()[2].GetCount())
	require.Zero(t, got.GetDigests()[3].GetCount())

	_, err := s.changes.DigestRecords(t.Context(), &salesforcev1.DigestRecordsRequest{Object: "case", Ranges: []*salesforcev1.StampRange{{}}})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.changes.ListStamps(ctx, &salesforcev1.ListStampsRequest{Object: "account"})
	require.Error(t, err)
}
