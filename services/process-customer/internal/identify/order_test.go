package identify

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// person is a record that somebody makes.
type person struct {
	who    string
	erp    bool
	values golden.Values
}

// town makes customers of which several have records that are not alike, with sisters and neighbours that are others.
func town(seed uint64, customers int) []person {
	r := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // a test
	var out []person
	for c := range customers {
		base := golden.Values{
			golden.Name: word(c*7+int(seed)) + " " + word(c*3+1) + " GmbH", golden.Street: fmt.Sprintf("%sweg %d", word(c/3+500), 1+c%9), golden.City: word(900 + c/4),
			golden.PostalCode: fmt.Sprintf("%05d", 10115+c/4*37), golden.Country: "DE", golden.Phone: fmt.Sprintf("+49 30 %07d", 1000000+c/2*7919),
		}
		for k := range 1 + r.IntN(3) {
			v := base.Clone()
			if r.IntN(3) == 0 {
				delete(v, golden.Phone)
			}
			if r.IntN(3) == 0 {
				v[golden.Name] = strings.Replace(v[golden.Name], " GmbH", "", 1)
			}
			if r.IntN(4) == 0 && len(v[golden.Name]) > 6 {
				v[golden.Name] = v[golden.Name][:4] + v[golden.Name][5:]
			}
			if r.IntN(5) == 0 {
				delete(v, golden.Street)
			}
			if r.IntN(6) == 0 {
				v[golden.Name] = word(c*7+int(seed)) + " Holding GmbH"
			}
			out = append(out, person{fmt.Sprintf("%d/%d", c, k), r.IntN(2) == 0, v})
		}
	}
	return out
}

// TestJoin_TheOrderOfArrivalDoesNotMatter lets the same records come in different orders, with updates, repeated news and
// deliveries between them, and looks whether the customers are the same in the end.
func TestJoin_TheOrderOfArrivalDoesNotMatter(t *testing.T) {
	t.Parallel()
	seeds, orders, size := 2, 20, 12
	if testing.Short() {
		seeds, orders, size = 1, 2, 3
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		if engine == "postgres" && testing.Short() {
			continue
		}
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for seed := range seeds {
				people := town(uint64(seed), size) //nolint:gosec // a count
				var first [][]string
				for order := range orders {
					if engine == "postgres" && order%4 > 0 {
						continue
					}
					b := setup(t, storetest.Schema.Open(t, engine), Config{Mode: Join})
					got := b.live(people, rand.New(rand.NewPCG(uint64(order), 17))) //nolint:gosec // a test
					b.Check()
					if first == nil {
						first = got
						require.Less(t, len(got), len(people), "something is joined")
					}
					require.Equal(t, first, got, "order %d of seed %d", order, seed)
				}
			}
		})
	}
}

// live has people make their records in a random order and returns who is one customer.
func (b *bench) live(people []person, r *rand.Rand) [][]string {
	b.t.Helper()
	ids := make([]string, len(people))
	system := func(i int) *sourcetest.Fake {
		if people[i].erp {
			return b.ERP
		}
		return b.SF
	}
	for _, i := range r.Perm(len(people)) {
		v := people[i].values
		wrong := r.IntN(4) == 0
		if wrong { // it is first taken for another one, and corrected later
			then := people[r.IntN(len(people))].values
			v = v.Clone()
			for f := range v {
				v[f] = cmp.Or(then[f], v[f])
			}
		}
		ids[i] = system(i).Create(golden.Customer, "", v)
		if r.IntN(3) == 0 {
			b.settle()
		}
		if wrong {
			system(i).Edit(golden.Customer, ids[i], people[i].values)
		}
		if r.IntN(4) == 0 {
			system(i).Touch(golden.Customer, ids[i])
		}
	}
	b.settle()
	groups := map[golden.ID][]string{}
	for i, p := range people {
		id := b.of(system(i), ids[i])
		groups[id] = append(groups[id], p.who)
	}
	var out [][]string
	for _, g := range groups {
		slices.Sort(g)
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return out
}
