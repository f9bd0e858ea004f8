package rulebook_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/rulebook"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/survive"
)

const (
	latest = "version: %d\nsystems: {erp: {priority: 20}, salesforce: {priority: 10}}\nobjects: {customer: {fields: {segment: {strategy: latest}}}}\n"
	byERP  = "version: %d\nsystems: {erp: {priority: 20}, salesforce: {priority: 10}}\nobjects: {customer: {fields: {phone: {strategy: master, master: [erp, salesforce]}}}}\n"
)

func rules(t *testing.T, text string, version int) *survive.Rules {
	t.Helper()
	r, err := survive.Parse(fmt.Appendf(nil, text, version))
	require.NoError(t, err)
	return r
}

// desk is a rule file that a test edits.
type desk struct {
	text string
	err  error
}

func (d *desk) load() ([]byte, error) { return []byte(d.text), d.err }

func open(t *testing.T, w *enginetest.World, d *desk, brake int) *rulebook.Book {
	t.Helper()
	b := rulebook.New(rulebook.Deps{
		Store: w.Store, Folder: w.Folder, Load: d.load, Brake: brake, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler), Marked: w.Wake,
	})
	first, err := survive.Parse([]byte(d.text))
	require.NoError(t, err)
	require.NoError(t, b.Open(t.Context(), first))
	return b
}

// setup is a world in which both systems have a customer; salesforce edited the phone last.
func setup(t *testing.T, brake int) (*enginetest.World, *desk, *rulebook.Book, *store.Golden) {
	t.Helper()
	return setupOn(t, storetest.Schema.Open(t, "sqlite"), brake)
}

func setupOn(t *testing.T, d *db.DB, brake int) (*enginetest.World, *desk, *rulebook.Book, *store.Golden) {
	t.Helper()
	w := enginetest.New(t, d)
	file := &desk{text: fmt.Sprintf(latest, 1)}
	w.Rules = rules(t, latest, 1)
	w.Start()
	b := open(t, w, file, brake)
	w.Settle()
	id := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: "Acme GmbH", golden.TaxID: "DE100000001", golden.Phone: "1"})
	w.Settle()
	g := w.Golden(w.ERP, golden.Customer, id)
	twin := w.Twin(g.ID, w.SF)
	w.SF.Edit(golden.Customer, twin.Ref.RecordID, golden.Values{golden.Phone: "2"})
	w.Settle()
	g = w.Golden(w.ERP, golden.Customer, id)
	require.Equal(t, "2", g.Values[golden.Phone])
	return w, file, b, g
}

func again(t *testing.T, w *enginetest.World, id golden.ID) *store.Golden {
	t.Helper()
	got, err := w.Store.Read().Goldens(t.Context(), []golden.ID{id})
	require.NoError(t, err)
	require.Len(t, got, 1)
	return got[0]
}

func active(t *testing.T, w *enginetest.World) store.RuleSet {
	t.Helper()
	got, err := w.Store.Read().Rules(t.Context(), store.RulesActive)
	require.NoError(t, err)
	return got
}

func TestBook(t *testing.T) {
	t.Parallel()

	t.Run("a changed file is applied to what is stored and written to the systems", func(t *testing.T) {
		t.Parallel()
		storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
			w, file, b, g := setupOn(t, d, 100)
			require.NoError(t, b.Turn(t.Context()))
			require.Equal(t, g.Version, again(t, w, g.ID).Version, "rules that are in force change nothing")
			file.text = fmt.Sprintf(byERP, 2)
			require.NoError(t, b.Turn(t.Context()))
			w.Rules = rules(t, byERP, 2)
			w.Settle()
			w.Check()
			require.Equal(t, "1", again(t, w, g.ID).Values[golden.Phone])
			require.Equal(t, "1", w.Twin(g.ID, w.SF).Values[golden.Phone])
			set := active(t, w)
			require.EqualValues(t, 2, set.Version)
			require.True(t, set.Done)
			require.EqualValues(t, 1, set.Changed)
			require.Empty(t, b.Problems())
		})
	})
	t.Run("rules that touch too much wait for a person", func(t *testing.T) {
		t.Parallel()
		w, file, b, g := setup(t, 99)
		file.text = fmt.Sprintf(byERP, 2)
		require.NoError(t, b.Turn(t.Context()))
		require.EqualValues(t, 1, active(t, w).Version)
		waiting, err := w.Store.Read().Rules(t.Context(), store.RulesWaiting)
		require.NoError(t, err)
		require.Equal(t, rulebook.ReasonTouchesTooMuch, waiting.Reason)
		require.EqualValues(t, 1, waiting.Changed)
		require.EqualValues(t, 1, waiting.Records)

		err = b.Confirm(t.Context(), "other")
		require.True(t, fault.Is(err, fault.NotFound))
		require.NoError(t, b.Confirm(t.Context(), waiting.Digest))
		require.NoError(t, b.Confirm(t.Context(), waiting.Digest), "twice is once")
		_, err = w.Store.Read().Rules(t.Context(), store.RulesWaiting)
		require.ErrorIs(t, err, store.ErrNotFound)
		require.NoError(t, b.Turn(t.Context()))
		require.Equal(t, "1", again(t, w, g.ID).Values[golden.Phone])
	})
	t.Run("rules that touch many more records than were shown wait for another look", func(t *testing.T) {
		t.Parallel()
		storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
			w, file, b, g := setupOn(t, d, 60)
			file.text = fmt.Sprintf(byERP, 2)
			require.NoError(t, b.Turn(t.Context()))
			waiting := func() store.RuleSet {
				got, err := w.Store.Read().Rules(t.Context(), store.RulesWaiting)
				require.NoError(t, err)
				return got
			}
			shown := waiting()
			require.Equal(t, []int64{1, 1}, []int64{shown.Changed, shown.Records})
			for i := range 2 {
				id := w.ERP.Create(golden.Customer, "", golden.Values{golden.Name: fmt.Sprintf("Beta %d AG", i), golden.TaxID: fmt.Sprintf("DE20000000%d", i), golden.Phone: "1"})
				w.Settle()
				w.SF.Edit(golden.Customer, w.Twin(w.Golden(w.ERP, golden.Customer, id).ID, w.SF).Ref.RecordID, golden.Values{golden.Phone: "2"})
				w.Settle()
			}
			err := b.Confirm(t.Context(), shown.Digest)
			refused, ok := fault.As(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, []any{fault.Precondition, rulebook.ReasonTouchesMore}, []any{refused.Kind, refused.Reason})
			require.Equal(t, []string{"3", "1"}, []string{refused.Meta["touched"], refused.Meta["shown"]})
			require.Contains(t, refused.Message, "3 of 3 records by now, 1 of 1 were shown")
			require.EqualValues(t, 1, active(t, w).Version)
			require.Equal(t, "2", again(t, w, g.ID).Values[golden.Phone])
			now := waiting()
			require.Equal(t, []any{int64(3), int64(3), shown.Since, shown.Reason}, []any{now.Changed, now.Records, now.Since, now.Reason})
			entries, err := w.Store.Read().Audit(t.Context(), store.AuditFilter{Operators: true}, true, 0, 100)
			require.NoError(t, err)
			require.Equal(t, rulebook.ReasonTouchesMore, entries[len(entries)-1].Reason)

			require.NoError(t, b.Confirm(t.Context(), shown.Digest), "what is shown now may be confirmed")
			require.Equal(t, []int64{2, 3, 3}, []int64{active(t, w).Version, active(t, w).Changed, active(t, w).Records})
		})
	})
	t.Run("what came into force, when and by whom stays in the audit trail", func(t *testing.T) {
		t.Parallel()
		storetest.Schema.Each(t, func(t *testing.T, d *db.DB) {
			w, file, b, _ := setupOn(t, d, 99)
			file.text = fmt.Sprintf(byERP, 2)
			require.NoError(t, b.Turn(t.Context()))
			require.NoError(t, b.Turn(t.Context()), "it waits once")
			waiting, err := w.Store.Read().Rules(t.Context(), store.RulesWaiting)
			require.NoError(t, err)
			ada := caller.With(t.Context(), caller.Identity{Name: "ada"})
			require.NoError(t, b.Confirm(ada, waiting.Digest))
			require.NoError(t, b.Confirm(ada, waiting.Digest), "twice is once")
			entries, err := w.Store.Read().Audit(t.Context(), store.AuditFilter{Operators: true}, true, 0, 100)
			require.NoError(t, err)
			var told []string
			for _, e := range entries {
				told = append(told, strings.TrimSpace(e.Kind+" "+e.Actor+" "+e.Reason))
			}
			require.Equal(t, []string{"rules_in_force", "rules_waiting  RULES_TOUCH_TOO_MUCH", "rules_in_force ada RULES_TOUCH_TOO_MUCH"}, told)
			head, text, _ := strings.Cut(entries[2].Note, "\n")
			require.Equal(t, "# version 2, digest "+waiting.Digest+": changes 1 of 1 records", head)
			require.Equal(t, file.text, text, "the rules themselves can be read when others are in force")
		})
	})
	t.Run("a replica with an older file follows the rules in force and changes none", func(t *testing.T) {
		t.Parallel()
		w, file, b, g := setup(t, 100)
		file.text = fmt.Sprintf(byERP, 2)
		require.NoError(t, b.Turn(t.Context()))
		w.Start() // another process, with the rules of its own file
		other := open(t, w, &desk{text: fmt.Sprintf(latest, 1)}, 100)
		require.Equal(t, active(t, w).Digest, w.Folder.Rules().Digest())
		require.NoError(t, other.Turn(t.Context()))
		require.EqualValues(t, 2, active(t, w).Version)
		require.Equal(t, "1", again(t, w, g.ID).Values[golden.Phone])
	})
	t.Run("a transaction decides by the rules in force even where nobody has told its process", func(t *testing.T) {
		t.Parallel()
		w, file, b, g := setup(t, 100)
		w.Start()
		require.NotEqual(t, rules(t, byERP, 2).Digest(), w.Folder.Rules().Digest())
		file.text = fmt.Sprintf(byERP, 2)
		require.NoError(t, b.Turn(t.Context()))
		twin := w.Twin(g.ID, w.SF)
		w.SF.Edit(golden.Customer, twin.Ref.RecordID, golden.Values{golden.Phone: "3"})
		w.Rules = rules(t, byERP, 2)
		w.Settle()
		w.Check()
		require.Equal(t, "1", w.Twin(g.ID, w.SF).Values[golden.Phone])
	})
	t.Run("a crash while rules are applied only delays them, and a database of an older release gets them, too", func(t *testing.T) {
		t.Parallel()
		w, file, _, g := setup(t, 100)
		require.NoError(t, w.Store.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.DropRules(ctx, store.RulesActive) }))
		require.NoError(t, open(t, w, file, 100).Turn(t.Context()))
		require.True(t, active(t, w).Done)
		require.EqualValues(t, 1, active(t, w).Version)
		lazy := open(t, w, file, 100)
		_, err := lazy.Propose(t.Context(), rules(t, byERP, 2))
		require.NoError(t, err)
		require.False(t, active(t, w).Done)
		require.Equal(t, "2", again(t, w, g.ID).Values[golden.Phone], "not yet")
		w.Start()
		file.text = fmt.Sprintf(byERP, 2)
		require.NoError(t, open(t, w, file, 100).Turn(t.Context()))
		require.True(t, active(t, w).Done)
		require.Equal(t, "1", again(t, w, g.ID).Values[golden.Phone])
	})
	t.Run("trying changes nothing, a file with mistakes changes nothing, a lower version waits", func(t *testing.T) {
		t.Parallel()
		w, file, b, g := setup(t, 100)

		got, err := b.Try(t.Context(), rules(t, byERP, 2), 10)
		require.NoError(t, err)
		require.Equal(t, []rulebook.Sample{{
			ID: g.ID, Object: golden.Customer, Field: golden.Phone, Before: "2", After: "1", RuleBefore: "latest", RuleAfter: "master erp",
		}}, got.Samples)
		require.Equal(t, map[golden.Object]map[string]int64{golden.Customer: {golden.Phone: 1}}, got.Fields)
		require.EqualValues(t, 1, got.Touched)
		require.EqualValues(t, 1, got.Changed)
		require.EqualValues(t, 1, got.Written)
		got, err = b.Try(t.Context(), rules(t, latest, 9), 10)
		require.NoError(t, err)
		require.Zero(t, got.Touched)
		require.EqualValues(t, 1, got.Records)
		require.Equal(t, g, again(t, w, g.ID))
		require.EqualValues(t, 1, active(t, w).Version)

		// Mistakes.
		file.text = strings.Replace(fmt.Sprintf(byERP, 2), "phone", "phoen", 1)
		require.NoError(t, b.Turn(t.Context()))
		require.Contains(t, b.Problems(), `line 3: objects.customer.fields.phoen: is not known; did you mean "phone"?`)
		require.EqualValues(t, 1, active(t, w).Version)
		require.Equal(t, "2", again(t, w, g.ID).Values[golden.Phone])
		file.err = errors.New("gone")
		require.NoError(t, b.Turn(t.Context()))
		require.Equal(t, "the rule file cannot be read", b.Problems())
		file.err, file.text = nil, fmt.Sprintf(latest, 1)
		require.NoError(t, b.Turn(t.Context()))
		require.Empty(t, b.Problems())

		// A lower version, and what waited is taken back with the file.
		file.text = fmt.Sprintf(byERP, 5)
		require.NoError(t, b.Turn(t.Context()))
		file.text = fmt.Sprintf(latest, 4)
		require.NoError(t, b.Turn(t.Context()))
		require.EqualValues(t, 5, active(t, w).Version)
		waiting, err := w.Store.Read().Rules(t.Context(), store.RulesWaiting)
		require.NoError(t, err)
		require.Equal(t, rulebook.ReasonVersionLower, waiting.Reason)
		file.text = fmt.Sprintf(byERP, 5)
		require.NoError(t, b.Turn(t.Context()))
		_, err = w.Store.Read().Rules(t.Context(), store.RulesWaiting)
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}
