package engine_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store/storetest"
)

// people are the random edits and faults of one run.
type people struct {
	w       *enginetest.World
	rt      *rapid.T
	dead    map[*sourcetest.Fake]map[golden.Object][]string
	dropped bool
}

func (p *people) system() *sourcetest.Fake {
	if rapid.Bool().Draw(p.rt, "erp") {
		return p.w.ERP
	}
	return p.w.SF
}

// sync learns which records live: deliveries make some, too.
func (p *people) sync(sys *sourcetest.Fake, obj golden.Object) []string {
	var ids []string
	for _, r := range sys.Records(obj) {
		ids = append(ids, r.Ref.RecordID)
	}
	return ids
}

func (p *people) values(obj golden.Object, sys *sourcetest.Fake) golden.Values {
	v := golden.Values{}
	pool := []string{"", "a", "b", "c"}
	fields := []string{golden.Phone, golden.Email, golden.Website, golden.Street, golden.City, golden.PostalCode}
	if obj == golden.Contact {
		fields = []string{golden.Phone, golden.Title, golden.Mobile, golden.FirstName}
	}
	for _, f := range fields {
		if slices.Contains(sys.Fields(obj), f) && rapid.Bool().Draw(p.rt, "set "+f) {
			v[f] = rapid.SampledFrom(pool).Draw(p.rt, f)
		}
	}
	return v
}

func (p *people) create() {
	sys := p.system()
	v := p.values(golden.Customer, sys)
	n := rapid.IntRange(1, 6).Draw(p.rt, "who")
	v[golden.Name] = fmt.Sprintf("Customer %d", n)
	if rapid.Bool().Draw(p.rt, "with tax id") {
		v[golden.TaxID] = fmt.Sprintf("DE10000000%d", n)
	}
	sys.Create(golden.Customer, "", v)
}

func (p *people) createContact() {
	sys := p.system()
	v := p.values(golden.Contact, sys)
	v[golden.LastName] = fmt.Sprintf("Person %d", rapid.IntRange(1, 5).Draw(p.rt, "person"))
	parent := ""
	if ids := p.sync(sys, golden.Customer); len(ids) > 0 && rapid.IntRange(0, 3).Draw(p.rt, "orphan") > 0 {
		parent = rapid.SampledFrom(ids).Draw(p.rt, "parent")
	}
	sys.Create(golden.Contact, parent, v)
}

func (p *people) pick(sys *sourcetest.Fake) (golden.Object, string) {
	obj := golden.Customer
	if rapid.IntRange(0, 2).Draw(p.rt, "contact") == 0 {
		obj = golden.Contact
	}
	ids := p.sync(sys, obj)
	if len(ids) == 0 {
		return obj, ""
	}
	return obj, rapid.SampledFrom(ids).Draw(p.rt, "record")
}

func (p *people) edit() {
	sys := p.system()
	if obj, id := p.pick(sys); id != "" {
		sys.Edit(obj, id, p.values(obj, sys))
	}
}

func (p *people) reparent() {
	sys := p.system()
	contacts, customers := p.sync(sys, golden.Contact), p.sync(sys, golden.Customer)
	if len(contacts) > 0 && len(customers) > 0 {
		sys.Reparent(rapid.SampledFrom(contacts).Draw(p.rt, "contact"), rapid.SampledFrom(customers).Draw(p.rt, "to"))
	}
}

func (p *people) remove() {
	sys := p.system()
	if obj, id := p.pick(sys); id != "" {
		sys.Delete(obj, id)
		p.w.Deleting = true
		p.dead[sys][obj] = append(p.dead[sys][obj], id)
	}
}

func (p *people) restore() {
	sys := p.system()
	for _, obj := range golden.Objects() {
		if ids := p.dead[sys][obj]; len(ids) > 0 {
			sys.Undelete(obj, ids[0])
			p.dead[sys][obj] = ids[1:]
			return
		}
	}
}

func (p *people) fault() {
	sys := p.system()
	obj, id := p.pick(sys)
	_ = obj
	switch rapid.IntRange(0, 9).Draw(p.rt, "fault") {
	case 0:
		sys.LoseAcks(1, nil)
	case 1:
		sys.Uncertain(id, 1)
	case 2:
		sys.Refuse(id, 2, sourcetest.Transient())
	case 3:
		sys.Conflict(id, 1)
	case 4:
		sys.Hold()
	case 5:
		sys.Release(sourcetest.Shuffled(uint64(rapid.IntRange(0, 9).Draw(p.rt, "seed"))))
	case 6:
		sys.Repeat(rapid.IntRange(0, 1).Draw(p.rt, "repeat"))
	case 7:
		sys.ExpireTokens()
	case 8:
		sys.Overflow("")
	case 9:
		sys.Drop(1)
		p.dropped = true
	}
}

// interleave has people act, and the feeds be read, while the next write to a system is on its way there or back.
func (p *people) interleave() {
	sys := p.system()
	edits, reads := rapid.Bool().Draw(p.rt, "edit on the way"), rapid.Bool().Draw(p.rt, "read on the way")
	act := func() {
		sys.BeforeUpsert(nil)
		sys.AfterUpsert(nil)
		if edits {
			p.edit()
		}
		if reads {
			_ = p.w.Read(context.Background())
		}
	}
	if rapid.Bool().Draw(p.rt, "before") {
		sys.BeforeUpsert(func(golden.Object, []source.Write) { act() })
	} else {
		sys.AfterUpsert(func(golden.Object, []source.Write, []source.Result) { act() })
	}
}

// work lets the engine do something; what it cannot do now it does later.
func (p *people) work() {
	ctx := context.Background()
	switch rapid.IntRange(0, 4).Draw(p.rt, "work") {
	case 0:
		_ = p.w.Read(ctx)
	case 1:
		_ = p.w.Deliver(ctx)
	case 2:
		sys := p.system()
		sys.SetDown(sourcetest.Unreachable())
		_ = p.w.Turn(ctx)
		sys.SetDown(nil)
	case 3:
		p.w.Start()
	default:
		_ = p.w.Turn(ctx)
	}
	p.w.Clock.Advance(time.Duration(rapid.IntRange(0, 5).Draw(p.rt, "seconds")) * time.Second)
}

// settle ends all faults and lets the world come to rest.
func (p *people) settle() {
	for _, sys := range []*sourcetest.Fake{p.w.SF, p.w.ERP} {
		sys.Release(sourcetest.Reversed)
		sys.LoseAcks(0, nil)
		sys.Drop(0)
		sys.Repeat(0)
	}
	p.w.Clock.Advance(5 * time.Minute)
	if p.dropped {
		// Nobody can know of a change that the feed has lost; reading everything again finds it.
		for _, system := range []string{"salesforce", "erp"} {
			err := p.w.Store.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.RequestScan(ctx, system)
				return err
			})
			require.NoError(p.rt, err)
		}
	}
	p.w.Settle()
}

func TestConvergence(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{true, false} {
		t.Run(fmt.Sprintf("whatever people and systems do, both systems agree in the end, late snapshots %v", late), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				d, err := storetest.Schema.Private(t.Context())
				require.NoError(rt, err)
				defer d.Close()
				w := enginetest.NewWith(rt, d, func(o *sourcetest.Options) { o.LateSnapshots = late })
				p := &people{w: w, rt: rt, dead: map[*sourcetest.Fake]map[golden.Object][]string{w.SF: {}, w.ERP: {}}}
				for range rapid.IntRange(0, 4).Draw(rt, "before") {
					p.create()
				}
				for range rapid.IntRange(1, 25).Draw(rt, "steps") {
					switch rapid.IntRange(0, 13).Draw(rt, "step") {
					case 0, 1:
						p.create()
					case 2:
						p.createContact()
					case 3, 4, 5:
						p.edit()
					case 6:
						p.reparent()
					case 7:
						p.remove()
					case 8:
						p.restore()
					case 9:
						p.fault()
					case 10:
						p.interleave()
					default:
						p.work()
					}
				}
				p.settle()
				w.Check()
			})
		})
	}
}
