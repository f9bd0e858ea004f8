package identify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// hopf is a person, spelled in ways that exact keys do not see through.
func hopf(n int) golden.Values {
	all := []golden.Values{
		{golden.FirstName: "Hanna", golden.LastName: "Hopfgartner", golden.Email: "hanna.hopfgartner@zapfhahn.example", golden.Phone: "+49 951 2233446"},
		{golden.FirstName: "Hannah", golden.LastName: "Hopfgärtner", golden.Email: "hopfgartner@zapfhahn.example", golden.Phone: "0951 2233446"},
	}
	return all[n].Clone()
}

// company is a customer that exact keys know in both systems.
func company() golden.Values {
	v := acme(0)
	v[golden.TaxID] = "DE136695976"
	return v
}

// shop is a customer in both systems.
func (b *bench) shop(v golden.Values) (sf, erp string) {
	b.t.Helper()
	sf = b.SF.Create(golden.Customer, "", v)
	b.settle()
	id := b.of(b.SF, sf)
	for _, r := range b.ERP.Records(golden.Customer) {
		if b.of(b.ERP, r.Ref.RecordID) == id {
			return sf, r.Ref.RecordID
		}
	}
	b.t.Fatal("the ERP has no such customer")
	return "", ""
}

func (b *bench) who(sys *sourcetest.Fake, id string) golden.ID {
	b.t.Helper()
	return b.World.Golden(sys, golden.Contact, id).ID
}

// long leaves a test out of the fast run, in which customers stand for both kinds: the code is the same.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("one of the long tests")
	}
}

func TestContacts_APersonDecides(t *testing.T) {
	long(t)
	both(t, Config{}, func(t *testing.T, b *bench) {
		ctx := t.Context()
		sfHome, erpHome := b.shop(company())
		sf, erp := b.SF.Create(golden.Contact, sfHome, hopf(0)), b.ERP.Create(golden.Contact, erpHome, hopf(1))
		b.settle()
		require.NotEqual(t, b.who(b.SF, sf), b.who(b.ERP, erp), "nothing is merged unasked")
		asked := b.asked()
		require.Len(t, asked, 1)
		require.Equal(t, golden.Contact, asked[0].Left.Object())
		of, err := b.desk.Asked(ctx, golden.Customer, store.MatchEdge{}, 10)
		require.NoError(t, err)
		require.Empty(t, of, "customers are asked about apart from contacts")
		c, err := b.desk.Show(ctx, asked[0].Left, asked[0].Right)
		require.NoError(t, err)
		require.NotEmpty(t, c.Evidence)
		require.Contains(t, []string{c.LeftValues[golden.FirstName], c.RightValues[golden.FirstName]}, "Hannah")

		require.NoError(t, b.desk.Answer(ctx, asked[0].Left, asked[0].Right, true, "one person"))
		b.settle()
		require.Equal(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		require.Empty(t, b.asked())
		st, err := b.desk.Status(ctx, golden.Contact)
		require.NoError(t, err)
		require.Equal(t, []int64{1, 1, 0}, []int64{st.Joined, st.Same, st.Asked})
		b.Check()

		gone := asked[0].Right
		if gone == b.who(b.SF, sf) {
			gone = asked[0].Left
		}
		require.NoError(t, b.steward.Unmerge(ctx, gone))
		b.SF.Touch(golden.Contact, sf)
		b.settle()
		require.NotEqual(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		require.Equal(t, "Hannah", b.World.Golden(b.ERP, golden.Contact, erp).Values[golden.FirstName], "what it had is there again")
		require.Empty(t, b.asked(), "taking it back says that they are two")
		b.Check()
	})
}

func TestContacts_AreJoinedByScore(t *testing.T) {
	both(t, Config{Mode: Join, Contacts: Join}, func(t *testing.T, b *bench) {
		sfHome, erpHome := b.shop(company())
		sf, erp := b.SF.Create(golden.Contact, sfHome, hopf(0)), b.ERP.Create(golden.Contact, erpHome, hopf(1))
		b.settle()
		require.Equal(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		require.Empty(t, b.asked())
		children, err := b.Store.Read().ListChildren(t.Context(), b.of(b.SF, sfHome), "", 10)
		require.NoError(t, err)
		require.Len(t, children, 1)
		require.Len(t, b.SF.Records(golden.Contact), 1, "nobody was made twice")
		require.Len(t, b.ERP.Records(golden.Contact), 1)
		b.Check()

		// Better evidence undoes it: another given name and another address is another person.
		b.ERP.Edit(golden.Contact, erp, golden.Values{golden.FirstName: "Korbinian", golden.Email: "korbinian@zapfhahn.example"})
		b.settle()
		require.NotEqual(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		require.Equal(t, "Hanna", b.World.Golden(b.SF, golden.Contact, sf).Values[golden.FirstName])
		b.Check()
	})
}

func TestContacts_RelativesAndColleaguesAreTwo(t *testing.T) {
	both(t, Config{Mode: Join, Contacts: Join}, func(t *testing.T, b *bench) {
		sfHome, erpHome := b.shop(company())
		for name, pair := range map[string][2]golden.Values{
			"one family and one telephone": {
				{golden.FirstName: "Xaver", golden.LastName: "Achleitner", golden.Phone: "+49 951 500100"},
				{golden.FirstName: "Theres", golden.LastName: "Achleitner", golden.Phone: "+49 951 500100"},
			},
			"father and son": {
				{golden.FirstName: "Robert", golden.LastName: "Lindqvist Sr.", golden.Phone: "+49 951 500200"},
				{golden.FirstName: "Robert", golden.LastName: "Lindqvist Jr.", golden.Phone: "+49 951 500200"},
			},
			"a mailbox of all": {
				{golden.FirstName: "Dagmar", golden.LastName: "Ostrowski", golden.Email: "info@zapfhahn.example", golden.Phone: "+49 951 500300"},
				{golden.FirstName: "Ignaz", golden.LastName: "Bruckmoser", golden.Email: "info@zapfhahn.example", golden.Phone: "+49 951 500300"},
			},
		} {
			sf, erp := b.SF.Create(golden.Contact, sfHome, pair[0]), b.ERP.Create(golden.Contact, erpHome, pair[1])
			b.settle()
			require.NotEqual(t, b.who(b.SF, sf), b.who(b.ERP, erp), name)
		}
		b.Check()
	})
}

func TestContacts_OfTwoCustomersAreJoinedWithThem(t *testing.T) {
	long(t)
	both(t, Config{Mode: Join, Contacts: Join}, func(t *testing.T, b *bench) {
		ctx := t.Context()
		first, second := company(), other()
		sfHome, _ := b.shop(first)
		_, erpHome := b.shop(second)
		sf, erp := b.SF.Create(golden.Contact, sfHome, hopf(0)), b.ERP.Create(golden.Contact, erpHome, hopf(0))
		b.settle()
		require.NotEqual(t, b.who(b.SF, sf), b.who(b.ERP, erp), "a person who works for two is not taken from one of them unasked")
		asked := b.asked()
		require.Len(t, asked, 1)
		require.Equal(t, golden.Contact, asked[0].Left.Object())
		b.Check()

		// Once the customers are one, so are the people; and two again with them.
		into, from := b.of(b.SF, sfHome), b.of(b.ERP, erpHome)
		require.NoError(t, b.steward.Merge(ctx, into, from))
		b.settle()
		require.Equal(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		require.Empty(t, b.asked())
		b.Check()
		require.NoError(t, b.steward.Unmerge(ctx, from))
		b.settle()
		require.NotEqual(t, b.of(b.SF, sfHome), b.of(b.ERP, erpHome))
		require.NotEqual(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		b.Check()
	})
}

func TestContacts_ASystemMayHaveOneRecordOfEach(t *testing.T) {
	long(t)
	both(t, Config{Mode: Join, Contacts: Join, MaxPerSystem: "erp=1"}, func(t *testing.T, b *bench) {
		_, erpHome := b.shop(company())
		first, second := b.ERP.Create(golden.Contact, erpHome, hopf(0)), b.ERP.Create(golden.Contact, erpHome, hopf(1))
		b.settle()
		require.NotEqual(t, b.who(b.ERP, first), b.who(b.ERP, second))
		require.Len(t, b.asked(), 1, "a person may know better")
		b.Check()
	})
}

func TestContacts_ExactKeysAloneWhenTheyAreOff(t *testing.T) {
	long(t)
	both(t, Config{Mode: Join, Contacts: Join}, func(t *testing.T, b *bench) {
		sfHome, erpHome := b.shop(company())
		b.restart(Config{Mode: Join, Contacts: Off})
		sf, erp := b.SF.Create(golden.Contact, sfHome, hopf(0)), b.ERP.Create(golden.Contact, erpHome, hopf(1))
		b.settle()
		require.NotEqual(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		require.Equal(t, ReasonNotMatched, fault.ReasonOf(b.desk.Answer(t.Context(), b.who(b.SF, sf), b.who(b.ERP, erp), true, "")))
		require.Equal(t, ReasonUnknown, fault.ReasonOf(b.desk.Answer(t.Context(), b.of(b.SF, sfHome), b.who(b.ERP, erp), true, "")))
		// Those that came meanwhile are matched as soon as it is on again.
		b.restart(Config{Mode: Join, Contacts: Join})
		b.settle()
		require.Equal(t, b.who(b.SF, sf), b.who(b.ERP, erp))
		b.Check()
	})
}

func TestContacts_SimultaneousCreatesGiveOne(t *testing.T) {
	n := 100
	if testing.Short() {
		n = 8
	}
	both(t, Config{Mode: Join, Contacts: Join}, func(t *testing.T, b *bench) {
		sfHome, _ := b.shop(company())
		parent := b.of(b.SF, sfHome)
		got := make([]golden.ID, n)
		decisions := make([]int, n)
		var g errgroup.Group
		for i := range n {
			g.Go(func() error {
				id, err := golden.DeriveID(golden.Contact, fmt.Sprint("create ", i))
				if err != nil {
					return err
				}
				v := hopf(i % 2)
				v[golden.LastName] = respell(v[golden.LastName], i)
				v[golden.Parent] = string(parent)
				return b.Intake.Create(t.Context(), id, v, func(_ context.Context, _ *store.Tx, id golden.ID, _ bool) error {
					got[i] = id
					decisions[i]++
					return nil
				})
			})
		}
		require.NoError(t, g.Wait())
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(got))), 1)
		require.NotContains(t, decisions, 0)
		b.settle()
		require.Len(t, b.SF.Records(golden.Contact), 1)
		require.Len(t, b.ERP.Records(golden.Contact), 1)
		b.Check()
	})
}

// TestContacts_TheOrderOfArrivalDoesNotMatter lets the same people come in different orders, with news and deliveries between
// them.
func TestContacts_TheOrderOfArrivalDoesNotMatter(t *testing.T) {
	long(t)
	const orders, size = 8, 6
	both(t, Config{Mode: Join, Contacts: Join}, func(t *testing.T, b *bench) {
		var first [][]string
		for order := range orders {
			v := company()
			v[golden.TaxID], v[golden.Name], v[golden.Phone] = "", word(order*11)+" "+word(order*5+3)+" GmbH", fmt.Sprintf("+49 30 77%05d", order*131)
			v[golden.Street], v[golden.City], v[golden.PostalCode] = fmt.Sprintf("%sweg %d", word(order+300), order+1), word(order+400), fmt.Sprintf("%05d", 20000+order*171)
			sfHome, erpHome := b.shop(v)
			got := b.staff(sfHome, erpHome, size, order)
			if first == nil {
				first = got
				require.Less(t, len(got), 3*size, "somebody is joined")
			}
			require.Equal(t, first, got, "order %d", order)
		}
		b.Check()
	})
}

// staff makes the records of some people in a random order and returns who is one.
func (b *bench) staff(sfHome, erpHome string, size, order int) [][]string {
	type record struct {
		who string
		sys *sourcetest.Fake
		id  string
	}
	var people []record
	var all []golden.Values
	for i := range size {
		given, family := word(i*3+70), word(i*7+90)
		v := golden.Values{
			golden.FirstName: given, golden.LastName: family, golden.Email: strings.ToLower(given + "." + family + "@zapfhahn.example"),
			golden.Phone: fmt.Sprintf("+49 951 60%04d", i*37),
		}
		typed, brief := v.Clone(), v.Clone()
		typed[golden.LastName] = family[:3] + family[4:]
		brief[golden.FirstName] = given[:1] + "."
		delete(brief, golden.Phone)
		for k, values := range []golden.Values{v, typed, brief} {
			sys := b.SF
			if k == 1 {
				sys = b.ERP
			}
			people, all = append(people, record{who: fmt.Sprintf("%d/%d", i, k), sys: sys}), append(all, values)
		}
	}
	r := rand.New(rand.NewPCG(uint64(order), 23)) //nolint:gosec // a test
	for _, i := range r.Perm(len(people)) {
		home := sfHome
		if people[i].sys == b.ERP {
			home = erpHome
		}
		people[i].id = people[i].sys.Create(golden.Contact, home, all[i])
		if r.IntN(3) == 0 {
			b.settle()
		}
		if r.IntN(4) == 0 {
			people[i].sys.Touch(golden.Contact, people[i].id)
		}
	}
	b.settle()
	groups := map[golden.ID][]string{}
	for _, p := range people {
		id := b.who(p.sys, p.id)
		groups[id] = append(groups[id], p.who)
	}
	var out [][]string
	for _, g := range groups {
		slices.Sort(g)
		out = append(out, g)
	}
	slices.SortFunc(out, slices.Compare)
	return out
}
