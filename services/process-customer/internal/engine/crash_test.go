package engine_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// story is what people do between the turns of the crash test. It uses names instead of ids, because ids may differ.
type story struct {
	w              *enginetest.World
	acme, anna, kn string
}

func (s *story) acts() []func() {
	w := s.w
	return []func(){
		func() {
			s.acme = w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "Acme GmbH", golden.TaxID: "DE100000001", golden.Phone: "1"})
			s.anna = w.SF.Create(golden.Contact, s.acme, golden.Values{golden.LastName: "Arndt", golden.Email: "anna@acme.example"})
			s.kn = w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Known AG", golden.TaxID: "DE100000002"})
			w.SF.Create(golden.Customer, "", golden.Values{golden.Name: "KNOWN", golden.TaxID: "DE100000002", golden.Website: "https://known.example"})
		},
		func() {
			w.SF.Edit(golden.Customer, s.acme, golden.Values{golden.Phone: "2"})
			w.ERP.Edit(golden.Customer, s.kn, golden.Values{golden.Street: "Hauptstr. 1", golden.City: "Köln"})
			w.ERP.Create(golden.Contact, s.kn, golden.Values{golden.LastName: "Kern"})
		},
		func() {
			w.SF.Delete(golden.Contact, s.anna)
			w.SF.Edit(golden.Customer, s.acme, golden.Values{golden.Name: "Acme SE"})
			w.SF.LoseAcks(1, nil)
		},
	}
}

// play runs the story. When the engine dies another one takes its place, in the middle of what the first one left.
func (s *story) play(t *testing.T, killer *enginetest.Killer) {
	t.Helper()
	ctx := context.Background()
	replaced := false
	for _, act := range s.acts() {
		act()
		for range 3 {
			err := s.w.Turn(ctx)
			if err != nil && !killer.Dead() {
				require.NoError(t, err)
			}
			if killer.Dead() && !replaced {
				replaced = true
				s.w.Wrap(nil, nil)
				s.w.Start()
				require.NoError(t, s.w.Recover(ctx))
				s.w.Settle()
			}
			s.w.Clock.Advance(time.Minute)
		}
	}
}

// picture is what a system holds, without the ids.
func picture(t *testing.T, sys *sourcetest.Fake) []string {
	t.Helper()
	var out []string
	for _, obj := range golden.Objects() {
		for _, rec := range sys.Records(obj) {
			v := rec.Values.Clone()
			delete(v, golden.ERPNumber)
			text, err := json.Marshal(v)
			require.NoError(t, err)
			out = append(out, string(obj)+string(text))
		}
	}
	slices.Sort(out)
	return out
}

func runStory(t *testing.T, at int) (sf, erp []string, passed int) {
	t.Helper()
	d, err := storetest.Schema.Private(t.Context())
	require.NoError(t, err)
	defer d.Close()
	w := enginetest.New(t, d)
	killer := enginetest.NewKiller(at)
	w.Wrap(killer.Store, killer.System)
	w.Start()
	s := &story{w: w}
	s.play(t, killer)
	passed = killer.Passed()
	require.Equal(t, at > 0, killer.Dead())
	w.Settle()
	w.Check()
	require.Empty(t, w.Dead())
	for _, system := range []string{"salesforce", "erp"} {
		line := w.Line(system)
		require.Zero(t, line.Retrying+line.Parked+line.Refused, "%+v", line)
	}
	return picture(t, w.SF), picture(t, w.ERP), passed
}

func TestCrash(t *testing.T) {
	t.Parallel()
	sf, erp, points := runStory(t, 0)
	require.Greater(t, points, 50)
	step := 1
	if testing.Short() {
		step = 29 // the fast tests look at few points, `make check` at each
	}
	for at := 1; at <= points; at += step {
		gotSF, gotERP, _ := runStory(t, at)
		require.Equal(t, sf, gotSF, "salesforce after a crash at point %d of %d", at, points)
		require.Equal(t, erp, gotERP, "erp after a crash at point %d of %d", at, points)
	}
}
