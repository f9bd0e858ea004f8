package identify

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/db"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/steward"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// bench is a world in which matching works.
type bench struct {
	*enginetest.World
	t       *testing.T
	decider *Decider
	worker  *Worker
	desk    *Desk
	steward *steward.Desk
}

// builtinModels reads the built-in models once: that takes longer than most of the tests that need them.
var builtinModels = sync.OnceValues(func() (ms models, err error) {
	if ms.customers, err = load(golden.Customer, ""); err != nil {
		return ms, err
	}
	ms.contacts, err = load(golden.Contact, "")
	return ms, err
})

func setup(t *testing.T, d *db.DB, c Config) *bench {
	t.Helper()
	b := &bench{World: enginetest.New(t, d), t: t}
	b.restart(c)
	b.settle()
	return b
}

// restart starts the engine anew, as another process would, with another configuration.
func (b *bench) restart(c Config) {
	b.t.Helper()
	m, err := builtinModels()
	require.NoError(b.t, err)
	b.decider, err = m.decider(Deps{Config: c, Now: b.Clock.Now, Log: slog.New(slog.DiscardHandler)})
	require.NoError(b.t, err)
	b.open()
}

func (b *bench) open() {
	b.t.Helper()
	require.NoError(b.t, b.decider.Open(b.t.Context(), b.Store))
	b.Identity = b.decider
	b.Start()
	b.worker = NewWorker(b.decider, b.Store, b.Folder, b.Wake)
	b.desk = NewDesk(b.decider, b.Store, b.Folder, b.Wake)
	b.steward = steward.New(b.Store, b.Folder, b.Wake)
}

// settle has everything read, matched and written.
func (b *bench) settle() {
	b.t.Helper()
	b.Settle()
	for more := true; more; {
		var err error
		more, err = b.worker.Step(b.t.Context())
		require.NoError(b.t, err)
	}
	b.Settle()
}

func (b *bench) of(sys *sourcetest.Fake, id string) golden.ID {
	b.t.Helper()
	return b.World.Golden(sys, golden.Customer, id).ID
}

func (b *bench) asked() []Pair {
	b.t.Helper()
	got, err := b.desk.Asked(b.t.Context(), "", store.MatchEdge{}, 100)
	require.NoError(b.t, err)
	return got
}

// acme is a customer, spelled in several ways that exact keys do not see through.
func acme(n int) golden.Values {
	all := []golden.Values{
		{golden.Name: "Brauerei Zapfhahn GmbH", golden.Street: "Lindenallee 17", golden.City: "Bamberg", golden.PostalCode: "96047", golden.Country: "DE", golden.Phone: "+49 951 2233445"},
		{golden.Name: "Brauerei Zapfhan GmbH", golden.Street: "Lindenallee 17", golden.City: "Bamberg", golden.PostalCode: "96047", golden.Country: "DE", golden.Phone: "0951 2233445"},
		{golden.Name: "ZAPFHAHN BRAUEREI", golden.Street: "Linden Allee 17", golden.City: "Bamberg", golden.PostalCode: "96047", golden.Country: "DE", golden.Website: "https://zapfhahn.example"},
	}
	return all[n].Clone()
}

func other() golden.Values {
	return golden.Values{golden.Name: "Optik Weitblick AG", golden.Street: "Seestrasse 4", golden.City: "Zug", golden.PostalCode: "6300", golden.Country: "CH", golden.Phone: "+41 41 7001122"}
}

// both runs a test on both engines, the fast run on SQLite alone: the store's own tests run on both.
func both(t *testing.T, c Config, test func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	if testing.Short() {
		test(t, setup(t, storetest.Schema.Open(t, "sqlite"), c))
		return
	}
	storetest.Schema.Each(t, func(t *testing.T, d *db.DB) { test(t, setup(t, d, c)) })
}

func TestAsk_APersonDecides(t *testing.T) {
	both(t, Config{}, func(t *testing.T, b *bench) {
		ctx := t.Context()
		sf, erp := b.SF.Create(golden.Customer, "", acme(0)), b.ERP.Create(golden.Customer, "", acme(1))
		b.SF.Create(golden.Customer, "", other())
		b.settle()
		require.NotEqual(t, b.of(b.SF, sf), b.of(b.ERP, erp), "nothing is merged unasked")
		asked := b.asked()
		require.Len(t, asked, 1)
		require.Greater(t, asked[0].Probability, 0.99)

		c, err := b.desk.Show(ctx, asked[0].Left, asked[0].Right)
		require.NoError(t, err)
		require.Empty(t, c.Veto)
		require.False(t, c.Together)
		require.NotEmpty(t, c.Evidence)
		require.Contains(t, []string{c.LeftValues[golden.Name], c.RightValues[golden.Name]}, "Brauerei Zapfhan GmbH")

		require.NoError(t, b.desk.Answer(ctx, asked[0].Left, asked[0].Right, true, "same address"))
		require.NoError(t, b.desk.Answer(ctx, asked[0].Left, asked[0].Right, true, "said twice"))
		b.settle()
		require.Equal(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		require.Empty(t, b.asked())
		b.Check()

		// Taking it back gives both what they had, and says that they are not the same: nobody asks again.
		gone := asked[0].Right
		if gone == b.of(b.SF, sf) {
			gone = asked[0].Left
		}
		require.NoError(t, b.steward.Unmerge(ctx, gone))
		b.SF.Touch(golden.Customer, sf)
		b.settle()
		require.NotEqual(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		require.Empty(t, b.asked())
		require.Equal(t, "Brauerei Zapfhan GmbH", b.World.Golden(b.ERP, golden.Customer, erp).Values[golden.Name])
		b.Check()
	})
}

func TestAsk_ARejectionHoldsForEver(t *testing.T) {
	both(t, Config{}, func(t *testing.T, b *bench) {
		ctx := t.Context()
		sf, erp := b.SF.Create(golden.Customer, "", acme(0)), b.ERP.Create(golden.Customer, "", acme(1))
		b.settle()
		asked := b.asked()
		require.Len(t, asked, 1)
		require.NoError(t, b.desk.Answer(ctx, asked[0].Left, asked[0].Right, false, "two breweries"))
		require.Empty(t, b.asked())

		// Not the same values, not another model, and not permission to join brings them together again.
		b.ERP.Edit(golden.Customer, erp, golden.Values{golden.Name: "Brauerei Zapfhahn GmbH"})
		b.settle()
		require.Empty(t, b.asked())
		b.restart(Config{Mode: Join})
		b.decider.digest = "another model"
		b.open()
		b.settle()
		require.NotEqual(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		require.Empty(t, b.asked())
		b.Check()
	})
}

func TestAsk_WordsThatContradictEachOtherAreRefused(t *testing.T) {
	both(t, Config{}, func(t *testing.T, b *bench) {
		ctx := t.Context()
		var ids []golden.ID
		for i := range 3 {
			ids = append(ids, b.of(b.SF, create(b, acme(i))))
		}
		require.NoError(t, b.desk.Answer(ctx, ids[0], ids[1], true, ""))
		require.NoError(t, b.desk.Answer(ctx, ids[1], ids[2], false, ""))
		require.Equal(t, ReasonContradiction, fault.ReasonOf(b.desk.Answer(ctx, ids[0], ids[2], true, "")))
		require.NoError(t, b.desk.Answer(ctx, ids[1], ids[2], true, "on second thoughts"))
		require.NoError(t, b.desk.Answer(ctx, ids[0], ids[2], true, ""))
		require.Equal(t, ReasonContradiction, fault.ReasonOf(b.desk.Answer(ctx, ids[0], ids[1], false, "")), "both are the same as the third")
		unknown, err := golden.DeriveID(golden.Customer, "nobody")
		require.NoError(t, err)
		require.Equal(t, ReasonUnknown, fault.ReasonOf(b.desk.Answer(ctx, ids[0], unknown, true, "")))
		b.settle()
		b.Check()
	})
}

func create(b *bench, v golden.Values) string {
	id := b.SF.Create(golden.Customer, "", v)
	b.settle()
	return id
}

func TestJoin_OneCustomerInBothSystems(t *testing.T) {
	both(t, Config{Mode: Join}, func(t *testing.T, b *bench) {
		ctx := t.Context()
		sf := b.SF.Create(golden.Customer, "", acme(0))
		b.SF.Create(golden.Contact, sf, golden.Values{golden.LastName: "Hopf"})
		b.settle()
		erp := b.ERP.Create(golden.Customer, "", acme(1))
		b.ERP.Create(golden.Contact, erp, golden.Values{golden.LastName: "Malz"})
		b.settle()
		require.Equal(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		require.Empty(t, b.asked())
		children, err := b.Store.Read().ListChildren(ctx, b.of(b.SF, sf), "", 10)
		require.NoError(t, err)
		require.Len(t, children, 2, "the contacts of both")
		b.Check()

		// Two tax numbers that are both right cannot be one customer, so what was joined is parted, on its own.
		b.SF.Edit(golden.Customer, sf, golden.Values{golden.TaxID: "DE136695976"})
		b.settle()
		require.Equal(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		b.ERP.Edit(golden.Customer, erp, golden.Values{golden.TaxID: "DE129274202"})
		b.settle()
		require.NotEqual(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		require.Equal(t, "Brauerei Zapfhan GmbH", b.World.Golden(b.ERP, golden.Customer, erp).Values[golden.Name])
		require.Len(t, b.SF.Records(golden.Customer), 2)
		require.Len(t, b.ERP.Records(golden.Customer), 2, "each has a record of its own, and none was written over")
		b.Check()
		// And back again.
		b.ERP.Edit(golden.Customer, erp, golden.Values{golden.TaxID: "DE136695976"})
		b.settle()
		require.Equal(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		b.Check()

		// A person who takes it back is not overruled by scores, nor by what is said later.
		root := b.of(b.SF, sf)
		var joined golden.ID
		below, err := b.Store.Read().MergedBelow(ctx, []golden.ID{root})
		require.NoError(t, err)
		for id := range below {
			joined = id
		}
		require.NoError(t, b.steward.Unmerge(ctx, joined))
		b.settle()
		b.ERP.Edit(golden.Customer, erp, golden.Values{golden.Name: "Brauerei Zapfhahn GmbH"})
		b.settle()
		require.NotEqual(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		require.Empty(t, b.asked())
		b.Check()
	})
}

func TestJoin_ASystemMayHaveOneRecordOfEach(t *testing.T) {
	both(t, Config{Mode: Join, MaxPerSystem: "erp=1"}, func(t *testing.T, b *bench) {
		first, second := b.ERP.Create(golden.Customer, "", acme(0)), b.ERP.Create(golden.Customer, "", acme(1))
		b.settle()
		sf := b.SF.Create(golden.Customer, "", acme(0))
		b.settle()
		require.NotEqual(t, b.of(b.ERP, first), b.of(b.ERP, second))
		require.Equal(t, b.of(b.ERP, first), b.of(b.SF, sf), "the copy that we made in the ERP does not count")
		require.NotEmpty(t, b.asked(), "a person may know better")
		p, err := b.desk.Preview(t.Context(), golden.Customer, 0, 5)
		require.NoError(t, err)
		require.Equal(t, []int{1, 1, 2}, []int{p.Groups, p.Vanish, p.Largest}, "what would be joined is what is")
		require.Positive(t, p.Refused)
		b.Check()
	})
}

func TestJoin_TheBrakeHoldsBackAndLetsGo(t *testing.T) {
	both(t, Config{Mode: Ask}, func(t *testing.T, b *bench) {
		for i := range 3 {
			v := acme(0)
			v[golden.Name], v[golden.Phone] = fmt.Sprintf("%s %s GmbH", word(i), word(i+40)), fmt.Sprintf("+49 951 88%05d", 137*i)
			b.SF.Create(golden.Customer, "", v)
			v[golden.Name] = strings.Replace(v[golden.Name], " GmbH", "h", 1)
			b.ERP.Create(golden.Customer, "", v)
		}
		b.settle()
		before := len(b.asked())
		require.GreaterOrEqual(t, before, 3)
		b.restart(Config{Mode: Join, Brake: 1})
		b.settle()
		joined := func() int64 {
			c, err := b.Store.Read().CountMatching(t.Context(), golden.Customer)
			require.NoError(t, err)
			return c.Joined
		}
		require.LessOrEqual(t, joined(), int64(1))
		for range 3 {
			b.Clock.Advance(2 * brakeWindow)
			b.settle()
		}
		require.GreaterOrEqual(t, joined(), int64(3), "it goes on when the hour is over")
		b.Check()
	})
}

func live(b *bench) map[golden.ID]bool {
	b.t.Helper()
	got, err := b.Store.Read().ListGoldens(b.t.Context(), golden.Customer, "", "", 1000)
	require.NoError(b.t, err)
	out := map[golden.ID]bool{}
	for _, g := range got {
		out[g.ID] = true
	}
	return out
}

func TestJoin_AnotherReplicasModelIsLeftAlone(t *testing.T) {
	both(t, Config{Mode: Join}, func(t *testing.T, b *bench) {
		sf, erp := b.SF.Create(golden.Customer, "", acme(0)), b.ERP.Create(golden.Customer, "", acme(1))
		b.settle()
		require.Equal(t, b.of(b.SF, sf), b.of(b.ERP, erp))
		customers := *b.decider.judge
		customers.digest = "newer"
		newer := &Decider{judge: &customers, contacts: b.decider.contacts, every: b.decider.every}
		require.NoError(t, newer.Open(t.Context(), b.Store))
		third := b.SF.Create(golden.Customer, "", acme(0))
		b.settle()
		require.NotEqual(t, b.of(b.SF, sf), b.of(b.SF, third), "it waits for the replica that has the model")
		require.Equal(t, b.of(b.SF, sf), b.of(b.ERP, erp), "and what was joined stays")
		require.Equal(t, ReasonModelReplaced, fault.ReasonOf(b.desk.Answer(t.Context(), b.of(b.SF, sf), b.of(b.SF, third), true, "")))
		b.decider = newer
		b.open()
		b.settle()
		require.Equal(t, b.of(b.SF, sf), b.of(b.SF, third))
		b.Check()
	})
}

// word makes words that have nothing in common.
func word(n int) string {
	r := rand.New(rand.NewPCG(uint64(n), 99)) //nolint:gosec // a test
	syllables := strings.Fields("bor dek fam gul hin jos kat lum mer nop pir quo ras sil tov vax wen zyk")
	s := ""
	for range 4 {
		s += syllables[r.IntN(len(syllables))]
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func TestJoin_SimultaneousCreatesGiveOneCustomer(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 8
	}
	both(t, Config{Mode: Join}, func(t *testing.T, b *bench) {
		got := make([]golden.ID, n)
		var g errgroup.Group
		for i := range n {
			g.Go(func() error {
				id, err := golden.DeriveID(golden.Customer, fmt.Sprint("create ", i))
				if err != nil {
					return err
				}
				v := acme(i % 2)
				v[golden.Name] = respell(v[golden.Name], i)
				return b.Intake.Create(t.Context(), id, v, func(_ context.Context, _ *store.Tx, id golden.ID, _ bool) error {
					got[i] = id
					return nil
				})
			})
		}
		require.NoError(t, g.Wait())
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(got))), 1)
		require.Len(t, live(b), 1)
		b.settle()
		require.Len(t, b.SF.Records(golden.Customer), 1)
		require.Len(t, b.ERP.Records(golden.Customer), 1)
		b.Check()
	})
}

// respell writes a name in another way.
func respell(s string, n int) string {
	switch n % 5 {
	case 1:
		return strings.ToUpper(s)
	case 2:
		return strings.Replace(s, "GmbH", "G.m.b.H.", 1)
	case 3:
		return strings.Replace(s, "rau", "ra", 1)
	case 4:
		return " " + strings.ReplaceAll(s, " ", "  ") + " "
	}
	return s
}
