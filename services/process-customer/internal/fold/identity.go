package fold

import (
	"context"
	"fmt"
	"slices"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/match"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/store"
)

// reasonExternalID means that a record carried the id we had written into it.
const reasonExternalID = "EXTERNAL_ID"

// reasonModel means that whose record it is is decided by all that is known, not by exact keys.
const reasonModel = "BY_SCORE"

// reasonMergedThere means that a merge in the record's system had put it in the place of one that was known.
const reasonMergedThere = "MERGED_THERE"

// identify says which golden record an unknown record belongs to: the one whose id it carries, the one it matches, or
// a new one. A record that carries an id we no longer know, after the database was lost, gets that id again.
func (u *Unit) identify(c source.Change, values golden.Values) (golden.ID, error) {
	obj := c.Ref.Object
	ext := source.GoldenIDOf(c.Record.ExternalID)
	if ext.Object() != obj {
		ext = ""
	}
	if ext != "" && u.goldens[ext] != nil {
		id := u.follow(ext)
		u.descend(ext, c.Ref)
		u.noteIdentity(id, "linked", c, reasonExternalID)
		return id, nil
	}
	if id := u.heir(c.Ref); id != "" && u.goldens[id] != nil {
		u.noteIdentity(id, "linked", c, reasonMergedThere)
		return id, nil
	}
	verdict := match.Verdict{Reason: reasonModel} // matching decides when the unit ends
	if u.f.identity == nil || !u.f.identity.Decides(obj) {
		verdict = match.Decide(values, u.candidates(obj, values))
	}
	if verdict.Same != "" {
		u.noteIdentity(verdict.Same, "linked", c, verdict.Reason)
		return verdict.Same, nil
	}
	id := ext
	if id == "" {
		var err error
		if id, err = golden.NewID(obj, u.f.rand); err != nil {
			return "", err
		}
	}
	u.newGolden(id)
	u.noteIdentity(id, "created", c, verdict.Reason)
	if verdict.Review {
		u.noteIdentity(id, "review", c, verdict.Reason)
		for _, other := range verdict.Others {
			u.noteIdentity(other, "review", c, verdict.Reason)
		}
	}
	return id, nil
}

func (u *Unit) newGolden(id golden.ID) {
	u.putGolden(&store.Golden{Record: golden.Record{
		ID: id, Object: id.Object(), Values: golden.Values{}, Created: u.now, Updated: u.now,
	}})
}

func (u *Unit) noteIdentity(id golden.ID, kind string, c source.Change, reason string) {
	u.Note(store.Event{GoldenID: id, Kind: kind, System: c.Ref.System, RecordID: c.Ref.RecordID, ChangeID: c.ID, Reason: reason})
}

// candidates returns the loaded golden records that have a key of the values. A key that its owner has lost within
// this unit finds nothing.
func (u *Unit) candidates(obj golden.Object, values golden.Values) []match.Candidate {
	var out []match.Candidate
	for _, k := range match.Keys(obj, values, golden.ID(values[golden.Parent])) {
		key := store.Key{Object: obj, Kind: string(k.Kind), Value: k.Value}
		g := u.goldens[u.owners[key]]
		if g == nil || g.Deleted || g.MergedInto != "" || !slices.Contains(u.keysOf(g), key) {
			continue
		}
		out = append(out, match.Candidate{ID: g.ID, Values: g.Values, Kind: k.Kind})
	}
	return out
}

// Match returns the golden record that the values of a new customer mean; empty when there is none. The owners of its
// keys must be loaded (LoadOwners).
func (u *Unit) Match(ctx context.Context, obj golden.Object, values golden.Values) (match.Verdict, error) {
	if u.f.identity == nil || !u.f.identity.Decides(obj) {
		return match.Decide(values, u.candidates(obj, values)), nil
	}
	id, err := u.f.identity.Find(ctx, u.tx.Reader, obj, values)
	return match.Verdict{Same: id, Reason: reasonModel}, err
}

// LoadOwners loads the golden records that values of a new record may match.
func (u *Unit) LoadOwners(ctx context.Context, obj golden.Object, values golden.Values) error {
	rec := source.Record{Ref: golden.Ref{Object: obj}, Values: values}
	ids, err := u.loadOwners(ctx, "", obj, []source.Change{{Record: &rec}})
	if err != nil {
		return err
	}
	return u.LoadGoldens(ctx, ids)
}

// loadOwners loads who has the keys of records that belong to nobody yet.
func (u *Unit) loadOwners(ctx context.Context, system string, obj golden.Object, changes []source.Change) ([]golden.ID, error) {
	var keys []store.Key
	seen := map[store.Key]bool{}
	for i := range changes {
		c := &changes[i]
		if c.Record == nil {
			continue
		}
		row := u.rows[golden.Ref{System: system, Object: obj, RecordID: c.Ref.RecordID}]
		if row != nil && row.GoldenID != "" {
			continue
		}
		values, err := u.safeValues(c.Record)
		if err != nil {
			continue // Observe will say so
		}
		for _, k := range match.Keys(obj, values, golden.ID(values[golden.Parent])) {
			key := store.Key{Object: obj, Kind: string(k.Kind), Value: k.Value}
			if !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	owners, err := u.tx.Owners(ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if _, taken := owners[k]; !taken {
			u.free[k] = true
		}
	}
	ids := make([]golden.ID, 0, len(owners))
	for k, id := range owners {
		u.owners[k] = id
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// safeValues is resolveParent for a record that nobody has looked at yet.
func (u *Unit) safeValues(rec *source.Record) (values golden.Values, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	values, _ = u.resolveParent(rec)
	return values, nil
}

// addOwners makes a changed golden record known by its keys to the rest of the unit.
func (u *Unit) addOwners(g *store.Golden) {
	if u.keeps(g) {
		return // the database knows it by them
	}
	for _, k := range u.keysOf(g) {
		if _, taken := u.owners[k]; taken {
			continue
		}
		u.owners[k] = g.ID
		u.undo = append(u.undo, func() { delete(u.owners, k) })
	}
}

// nameKey returns what a golden record is looked up by when somebody types the beginning of its name.
func nameKey(obj golden.Object, v golden.Values) string {
	if obj == golden.Contact {
		return match.Fold(v[golden.LastName] + " " + v[golden.FirstName])
	}
	return match.Fold(v[golden.Name])
}

// Create makes a golden record with an id that the caller has derived. It has no values until somebody says some.
func (u *Unit) Create(id golden.ID, changeID, reason string) {
	u.newGolden(id)
	u.Note(store.Event{GoldenID: id, Kind: "created", System: golden.SystemAPI, RecordID: string(id), ChangeID: changeID, Reason: reason})
}
