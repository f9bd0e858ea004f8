package sap_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/sap"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

// TestOrder_TwoOfOneReference: two orders where there may be one are an error that names both, whoever made them, and nothing is
// made or chosen.
func TestOrder_TwoOfOneReference(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"made by others": "", "made by us": "1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sandbox.Config{}, nil)
			buyer := b.customer(t, "Buyer").ID
			first, second := b.elsewhere(t, buyer, line), b.elsewhere(t, buyer, line)
			for range 2 {
				_, _, err := b.CreateOrder(t.Context(), order(buyer))
				f, ok := fault.As(err)
				require.True(t, ok)
				require.Equal(t, []any{fault.Precondition, backend.ReasonDuplicate}, []any{f.Kind, f.Reason})
				require.Equal(t, first+","+second, f.Meta["record_ids"])
			}
			require.Equal(t, []string{first, second}, b.orders(t))
			require.Empty(t, b.wire.headers("Accept"), "nothing was sent")
		})
	}
}

// TestRepeatability_WhatWasLateMakesNoSecondOrder: a request that is held up for longer than anybody waits arrives after the one
// that was sent in its place. SAP knows it by its id.
func TestRepeatability_WhatWasLateMakesNoSecondOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, sandbox.Config{Repeatability: true}, func(c *sap.Config) { c.Repeatability = true })
	buyer := b.customer(t, "Buyer").ID
	b.wire.hold = true
	_, _, err := b.CreateOrder(t.Context(), order(buyer))
	require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err))
	begun := b.clock.now()
	b.clock.advance(settle + time.Minute)
	made, outcome, err := b.CreateOrder(t.Context(), order(buyer))
	require.NoError(t, err)
	require.Equal(t, erp.Created, outcome)

	ids, first := b.wire.headers("RequestID"), b.wire.headers("RepeatabilityCreation")
	require.Len(t, ids, 2)
	require.Regexp(t, "^[0-9A-F]{32}$", ids[0])
	require.Equal(t, ids[0], ids[1])
	require.Equal(t, first[0], first[1], "the time of the first attempt, not of each")
	at, err := http.ParseTime(first[0])
	require.NoError(t, err)
	require.False(t, at.After(begun))

	status, header, number := b.wire.late(t)
	require.Equal(t, []any{http.StatusCreated, "accepted", made.ID}, []any{status, header.Get("RepeatabilityResult"), number})
	require.Equal(t, []string{made.ID}, b.orders(t))
}

// TestRepeatability_ARefusalIsNotRepeated: the gateway answers a repeated request with its first answer, refusals included. So
// what is sent after a refusal is another request.
func TestRepeatability_ARefusalIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t, sandbox.Config{Repeatability: true}, func(c *sap.Config) { c.Repeatability = true })
	buyer := b.customer(t, "Buyer").ID
	plan(t, b.url, `{"effect":"lock","set":"A_SalesOrder","count":1}`)
	_, outcome, err := b.CreateOrder(t.Context(), order(buyer))
	require.NoError(t, err)
	require.Equal(t, erp.Created, outcome)
	ids := b.wire.headers("RequestID")
	require.Len(t, ids, 2)
	require.NotEqual(t, ids[0], ids[1])
	require.Len(t, b.orders(t), 1)
}

func TestRepeatability_OfTheGateway(t *testing.T) {
	t.Parallel()
	b := newBench(t, sandbox.Config{Repeatability: true}, func(c *sap.Config) { c.Repeatability = true })
	o := order(b.customer(t, "Buyer").ID)
	o, err := b.ValidateOrder(t.Context(), o)
	require.NoError(t, err)
	key := remote.Key{Mark: "MARKAAAAAAAAAAAAAAAA", First: b.clock.now()}
	made, err := b.sys.InsertOrder(t.Context(), o, key)
	require.NoError(t, err)
	again, err := b.sys.InsertOrder(t.Context(), o, key)
	require.NoError(t, err)
	require.Equal(t, made.ID, again.ID, "the first answer once more")
	b.clock.advance(7 * time.Hour)
	_, err = b.sys.InsertOrder(t.Context(), o, key)
	require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err), "its answer is gone; that it was executed is known")
	b.clock.advance(24 * time.Hour)
	_, err = b.sys.InsertOrder(t.Context(), o, key)
	require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err), "by the time of the first attempt it may have been")
	require.Equal(t, []string{made.ID}, b.orders(t))
	key.First = b.clock.now()
	other, err := b.sys.InsertOrder(t.Context(), o, key)
	require.NoError(t, err)
	require.NotEqual(t, made.ID, other.ID, "another request is another order: SAP knows no keys")

	without := newBench(t, sandbox.Config{}, func(c *sap.Config) { c.Repeatability = true })
	_, _, err = without.CreateOrder(t.Context(), order(without.customer(t, "Buyer").ID))
	require.Equal(t, backend.ReasonRejected, fault.ReasonOf(err), "a gateway that is not set up for it says so")
	require.Empty(t, without.orders(t))
}

// TestExternalNumbers: SAP itself refuses a second order where the number is ours, and another one's number is not ours.
func TestExternalNumbers(t *testing.T) {
	t.Parallel()
	b := newBench(t, sandbox.Config{ExternalOrders: true}, func(c *sap.Config) { c.ExternalNumbers = true })
	buyer := b.customer(t, "Buyer").ID
	b.wire.hold = true
	_, _, err := b.CreateOrder(t.Context(), order(buyer))
	require.Equal(t, fault.ReasonOutcomeUncertain, fault.ReasonOf(err))
	b.clock.advance(settle + time.Minute)
	made, _, err := b.CreateOrder(t.Context(), order(buyer))
	require.NoError(t, err)
	require.Regexp(t, "^S[A-Z2-7]{9}$", made.ID)
	status, _, _ := b.wire.late(t)
	require.Equal(t, http.StatusBadRequest, status, "what was late finds its own number taken")
	require.Equal(t, []string{made.ID}, b.orders(t))
	again, outcome, err := b.CreateOrder(t.Context(), order(buyer))
	require.NoError(t, err)
	require.Equal(t, []any{made.ID, erp.Unchanged}, []any{again.ID, outcome})
	days, err := b.Documents(t.Context(), b.clock.now().AddDate(0, 0, -2), b.clock.now().AddDate(0, 0, 2))
	require.NoError(t, err)
	count := map[string][2]int64{}
	for _, d := range days {
		count[d.Object] = [2]int64{count[d.Object][0] + d.Documents, count[d.Object][1] + d.Lines}
	}
	require.Equal(t, map[string][2]int64{"customer": {1, 1}, "order": {1, 1}}, count)

	// Somebody has an order under the number that belongs to another reference.
	o := order(buyer)
	o.ClientRef = "0061x00000ZzZzZAAV"
	dry, err := b.ValidateOrder(t.Context(), o)
	require.NoError(t, err)
	_, err = b.sys.InsertOrder(t.Context(), dry, remote.Key{Ref: erp.Ref{System: "selfsame", Type: "order", Value: o.ClientRef}, Mark: made.ID[1:] + "AAAAAAAAAAA"})
	require.Equal(t, []any{fault.Precondition, sap.ReasonNumberTaken}, []any{fault.KindOf(err), fault.ReasonOf(err)})
	require.Len(t, b.orders(t), 1)
}

// TestChanges_CommittedLate: a record whose stamp is older than what was read already is found by the overlap; one that is older
// than that by the comparison.
func TestChanges_CommittedLate(t *testing.T) {
	t.Parallel()
	b := newBench(t, sandbox.Config{}, nil)
	make := func(name string) string {
		id, err := b.desk.Make(t.Context(), name, erp.Ref{System: "s", Type: "t", Value: name})
		require.NoError(t, err)
		return id
	}
	soon, late := make("Soon"), make("Late")
	b.clock.advance(time.Hour)
	make("Newest")
	require.NoError(t, b.Sync(t.Context()))
	names := func() map[string]string {
		list, err := b.Customers().List(t.Context(), "", 10) // of what was read, without asking again
		require.NoError(t, err)
		out := map[string]string{}
		for _, c := range list {
			out[c.ID] = c.Name
		}
		return out
	}
	rename := func(id, name, behind string) {
		sap.Console(t, http.MethodPut, b.url+"/__sandbox__/partners/"+id, `{"name":"`+name+`","behind":"`+behind+`"}`)
	}
	rename(soon, "Soon 2", "60s")
	rename(late, "Late 2", "30m")
	require.NoError(t, b.Sync(t.Context()))
	require.Equal(t, "Soon 2", names()[soon], "older than what was read last, and within the overlap")
	require.Equal(t, "Late", names()[late], "its stamp is too old for that")
	require.NoError(t, b.Compare(t.Context()))
	require.NoError(t, b.Sync(t.Context()))
	require.Equal(t, "Late 2", names()[late], "the comparison asks for everything")
}

// TestSession_ThatEnded: what SAP gave out for half an hour is fetched again, and the write is sent once more: it was refused at
// the door.
func TestSession_ThatEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t, sandbox.Config{SessionTTL: 30 * time.Minute}, nil)
	b.customer(t, "First")
	b.clock.advance(31 * time.Minute)
	b.customer(t, "Second")
	for _, name := range []string{"First", "Second"} {
		ids, err := b.desk.ids(t.Context(), partners, "A_BusinessPartner", "OrganizationBPName1 eq '"+name+"'", "BusinessPartner")
		require.NoError(t, err)
		require.Len(t, ids, 1)
	}
}

// TestMeet_WhenSAPIsAway: nothing fails at the start, what SAP can do is asked at once and again until it answers, and then not
// any more.
func TestMeet_WhenSAPIsAway(t *testing.T) {
	t.Parallel()
	long(t)
	box, err := sandbox.New(sandbox.Config{})
	require.NoError(t, err)
	var open atomic.Bool
	var refused, described atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() {
			refused.Add(1)
			http.Error(w, "maintenance", http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path[len(r.URL.Path)-1] == 'a' { // …/$metadata
			described.Add(1)
		}
		box.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b := (&bench{clock: &clock{}, url: server.URL}).open(t, nil)
	_, err = b.Capabilities(t.Context())
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	ran, done := make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(done); ran <- b.Run(ctx) }()
	defer func() { cancel(); <-done }()
	require.Eventually(t, func() bool { return refused.Load() > 3 }, time.Minute, time.Millisecond, "it is asked again")
	open.Store(true)
	require.Eventually(t, func() bool { return described.Load() >= 7 }, time.Minute, time.Millisecond)
	require.Eventually(t, func() bool { _, err := b.Customers().List(t.Context(), "", 1); return err == nil }, time.Minute, time.Millisecond)
	n := described.Load()
	c, err := b.Capabilities(t.Context())
	require.NoError(t, err)
	require.True(t, c.CreateOrders)
	require.NoError(t, b.Sync(t.Context()))
	require.Equal(t, n, described.Load(), "not any more")
	cancel()
	require.NoError(t, <-ran)
}
