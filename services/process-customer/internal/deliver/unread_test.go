package deliver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// acme is a customer that both systems have and whose feed in Salesforce tells nothing from now on.
type acme struct {
	*enginetest.World
	t        *testing.T
	sf, erp  string
	attempts int // calls that have written to Salesforce so far
	looks    int // calls that have read it
}

func silent(t *testing.T) *acme {
	t.Helper()
	w := setup(t)
	a := &acme{World: w, t: t}
	a.erp = w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1", golden.Street: "A 1", golden.City: "Köln"})
	w.Settle()
	a.sf = w.Twin(w.Golden(w.ERP, golden.Customer, a.erp).ID, w.SF).Ref.RecordID
	w.SF.Hold()
	a.attempts, a.looks = w.SF.Calls(sourcetest.OpUpsert), w.SF.Calls(sourcetest.OpFetch)
	return a
}

// edit has a person change the record of one of the systems.
func (a *acme) edit(sys *sourcetest.Fake, field, value string) {
	a.t.Helper()
	a.Clock.Advance(time.Minute)
	id := a.sf
	if sys == a.ERP {
		id = a.erp
	}
	sys.Edit(golden.Customer, id, golden.Values{field: value})
}

// deliver reads what the feeds tell and writes, for some hours.
func (a *acme) deliver() {
	a.t.Helper()
	require.NoError(a.t, a.Read(a.t.Context()))
	for range 4 {
		require.NoError(a.t, a.Deliver(a.t.Context()))
		a.Clock.Advance(time.Hour)
	}
}

func (a *acme) phone() string {
	a.t.Helper()
	rec, ok := a.SF.Record(golden.Customer, a.sf)
	require.True(a.t, ok)
	return rec.Values[golden.Phone]
}

// rest has the feed tell what it kept back; everything has to agree then.
func (a *acme) rest() {
	a.t.Helper()
	a.SF.Release(nil)
	a.Settle()
	a.Check()
	require.Empty(a.t, a.Dead())
}

// heard reports whether Salesforce has said a value of a field.
func (a *acme) heard(field, value string) bool {
	a.t.Helper()
	rows, err := a.Store.Read().Sources(a.t.Context(), "salesforce", golden.Customer, []string{a.sf})
	require.NoError(a.t, err)
	return slices.ContainsFunc(rows[0].Claims[field], func(c golden.Claim) bool { return c.Value == value })
}

func TestUnread(t *testing.T) {
	t.Parallel()
	t.Run("an edit that the feed has not told is heard before it is written over", func(t *testing.T) {
		a := silent(t)
		a.edit(a.SF, golden.Phone, "of a person")
		a.edit(a.ERP, golden.Phone, "2")
		a.deliver()
		require.True(t, a.heard(golden.Phone, "of a person"))
		require.Equal(t, "2", a.phone(), "the later word wins, and it is known over what")
		require.Subset(t, a.Events(a.Golden(a.ERP, golden.Customer, a.erp).ID), []string{"failed", "conflict"})
		a.rest()
		require.Equal(t, "2", a.phone())
	})
	t.Run("a later edit that the feed has not told wins", func(t *testing.T) {
		a := silent(t)
		a.edit(a.ERP, golden.Phone, "2")
		require.NoError(t, a.Read(t.Context()))
		a.edit(a.SF, golden.Phone, "of a person")
		a.deliver()
		require.Equal(t, "of a person", a.phone())
		require.Equal(t, a.attempts, a.SF.Calls(sourcetest.OpUpsert), "it was never written over")
		rec, _ := a.ERP.Record(golden.Customer, a.erp)
		require.Equal(t, "of a person", rec.Values[golden.Phone])
		a.rest()
	})
	t.Run("an edit of what moves with the field counts, one of anything else does not", func(t *testing.T) {
		a := silent(t)
		a.edit(a.SF, golden.Street, "of a person 1")
		a.edit(a.ERP, golden.City, "Bonn")
		a.deliver()
		require.True(t, a.heard(golden.Street, "of a person 1"))
		a.edit(a.SF, golden.Website, "of-a-person.example")
		a.edit(a.ERP, golden.Phone, "2")
		a.deliver()
		require.Equal(t, "2", a.phone())
		require.False(t, a.heard(golden.Website, "of-a-person.example"), "the feed will tell")
		a.rest()
	})
	t.Run("what we have written ourselves is no edit", func(t *testing.T) {
		a := silent(t)
		for i := range 3 {
			a.edit(a.ERP, golden.Phone, fmt.Sprint(i+2))
			a.deliver()
		}
		require.Equal(t, "4", a.phone())
		require.Equal(t, 3, a.SF.Calls(sourcetest.OpUpsert)-a.attempts)
		require.Equal(t, 3, a.SF.Calls(sourcetest.OpFetch)-a.looks, "one look each")
		require.NotContains(t, a.Events(a.Golden(a.ERP, golden.Customer, a.erp).ID), "failed")
		a.rest()
	})
	for name, outcome := range map[string]func(*acme){
		"the answer was lost":        func(a *acme) { a.SF.LoseAcks(1, nil) },
		"the outcome was not known":  func(a *acme) { a.SF.LoseAcks(1, uncertain()) },
		"one record was not certain": func(a *acme) { a.SF.Uncertain(a.sf, 1) },
	} {
		t.Run(name+", and it had arrived: it is not written again", func(t *testing.T) {
			a := silent(t)
			outcome(a)
			a.edit(a.ERP, golden.Phone, "2")
			a.deliver()
			require.Equal(t, "2", a.phone())
			require.Equal(t, 1, a.SF.Calls(sourcetest.OpUpsert)-a.attempts)
			require.False(t, a.heard(golden.Phone, "2"), "nobody typed it there")
			a.rest()
		})
		t.Run(name+", and a person has edited the record since", func(t *testing.T) {
			a := silent(t)
			outcome(a)
			a.edit(a.ERP, golden.Phone, "2")
			require.NoError(t, a.Read(t.Context()))
			require.NoError(t, a.Deliver(t.Context()))
			a.edit(a.SF, golden.Phone, "of a person")
			a.deliver()
			require.Equal(t, "of a person", a.phone())
			require.Equal(t, 1, a.SF.Calls(sourcetest.OpUpsert)-a.attempts)
			require.True(t, a.heard(golden.Phone, "of a person"))
			a.rest()
		})
	}
	t.Run("an edit within the second of the last known one shows by its value", func(t *testing.T) {
		w := coarse(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		erpID := w.Twin(w.Golden(w.SF, golden.Customer, id).ID, w.ERP).Ref.RecordID
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		require.NoError(t, w.Read(t.Context()))
		w.SF.Hold()
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "3"})
		w.ERP.Edit(golden.Customer, erpID, golden.Values{golden.Phone: "4"})
		require.NoError(t, w.Read(t.Context()))
		require.NoError(t, w.Deliver(t.Context()))
		a := &acme{World: w, t: t, sf: id}
		require.True(t, a.heard(golden.Phone, "3"))
		a.rest()
	})
	t.Run("while it cannot be looked at it is not written", func(t *testing.T) {
		a := silent(t)
		a.edit(a.SF, golden.Phone, "of a person")
		a.edit(a.ERP, golden.Phone, "2")
		require.NoError(t, a.Read(t.Context()))
		a.SF.Fail(sourcetest.OpFetch, sourcetest.Unreachable())
		require.NoError(t, a.Deliver(t.Context()))
		require.Equal(t, a.attempts, a.SF.Calls(sourcetest.OpUpsert))
		require.Equal(t, "of a person", a.phone())
		a.Clock.Advance(time.Hour)
		a.deliver()
		require.True(t, a.heard(golden.Phone, "of a person"))
		a.rest()
	})
	t.Run("a look that works does not hide that writing fails", func(t *testing.T) {
		a := silent(t)
		a.edit(a.ERP, golden.Phone, "2")
		require.NoError(t, a.Read(t.Context()))
		var waits []time.Duration
		for range 5 {
			a.SF.Fail(sourcetest.OpUpsert, sourcetest.Unreachable())
			require.NoError(t, a.Deliver(t.Context()))
			for _, d := range a.Deliverers {
				if until := d.Status().PausedUntil; d.System() == "salesforce" {
					waits = append(waits, until.Sub(a.Clock.Now()))
					a.Clock.Advance(until.Sub(a.Clock.Now()) + time.Second)
				}
			}
		}
		require.Greater(t, waits[4], 4*waits[0], "it is left alone for longer and longer")
		a.rest()
	})
	t.Run("one that cannot be read stops no other", func(t *testing.T) {
		a := silent(t)
		other := a.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Other", golden.TaxID: "DE100000009", golden.Phone: "1"})
		a.SF.Release(nil)
		a.Settle()
		otherSF := a.Twin(a.Golden(a.ERP, golden.Customer, other).ID, a.SF).Ref.RecordID
		a.Wrap(nil, func(s source.System) source.System {
			if s.Name() == "salesforce" {
				return &choosy{System: s, id: a.sf}
			}
			return s
		})
		a.Start()
		a.edit(a.ERP, golden.Phone, "2")
		a.ERP.Edit(golden.Customer, other, golden.Values{golden.Phone: "3"})
		a.deliver()
		rec, _ := a.SF.Record(golden.Customer, otherSF)
		require.Equal(t, "3", rec.Values[golden.Phone])
		require.Equal(t, "1", a.phone())
		require.Len(t, a.Dead(), 1)
	})
	t.Run("what cannot be taken in is not written over, nor looked at for ever", func(t *testing.T) {
		a := silent(t)
		a.edit(a.SF, golden.Phone, strings.Repeat("x", 9000))
		a.edit(a.ERP, golden.Phone, "2")
		for range 10 {
			a.deliver()
		}
		require.Equal(t, a.attempts, a.SF.Calls(sourcetest.OpUpsert))
		require.Less(t, a.SF.Calls(sourcetest.OpFetch)-a.looks, 40)
		require.Len(t, a.Dead(), 2, "the reading and the delivery wait for a person")
	})
	t.Run("a record that is gone is not written", func(t *testing.T) {
		a := silent(t)
		a.Deleting = true
		a.SF.Delete(golden.Customer, a.sf)
		a.edit(a.ERP, golden.Phone, "2")
		a.deliver()
		require.Equal(t, a.attempts, a.SF.Calls(sourcetest.OpUpsert))
		a.rest()
	})
	t.Run("a system that checks versions needs no look", func(t *testing.T) {
		w := setup(t)
		id := w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme", golden.Phone: "1"})
		w.Settle()
		looks := w.ERP.Calls(sourcetest.OpFetch)
		w.SF.Edit(golden.Customer, id, golden.Values{golden.Phone: "2"})
		w.Settle()
		require.Equal(t, looks, w.ERP.Calls(sourcetest.OpFetch))
	})
}

// choosy is a system that takes no question about one record.
type choosy struct {
	source.System
	id string
}

func (p *choosy) Fetch(ctx context.Context, obj golden.Object, ids []string) ([]source.Record, []string, error) {
	if slices.Contains(ids, p.id) {
		return nil, nil, fault.New(fault.Invalid, fault.ReasonValidationFailed, "an id is not one")
	}
	return p.System.Fetch(ctx, obj, ids)
}

// coarse is a world whose Salesforce counts seconds, at the beginning of one.
func coarse(t *testing.T) *enginetest.World {
	t.Helper()
	t.Parallel()
	w := enginetest.NewWith(t, storetest.Schema.Open(t, "sqlite"), func(o *sourcetest.Options) {
		if o.ClockVersions {
			o.ClockStep = time.Second
		}
	})
	w.Settle()
	return w
}
