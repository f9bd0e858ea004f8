package rest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// The limits of a tree request.
const (
	maxTreeRecords = 200
	maxTreeLevels  = 5
	maxTreeTypes   = 5
)

// leaf is one record of a tree, without its children.
type leaf struct {
	object *schema.Object
	ref    string
	values map[string]any
	// parent and link say which record and field the leaf hangs on.
	parent *leaf
	link   *schema.Field
	id     string
}

type treeResult struct {
	Ref    string        `json:"referenceId"`
	ID     string        `json:"id,omitempty"`
	Errors []recordError `json:"errors,omitempty"`
}

// tree serves POST /composite/tree/X: records with their children, all or none.
func (c *call) tree(object string) *answer {
	o := c.opt.Schema.Object(object)
	if o == nil {
		return notFound()
	}
	var in struct {
		Records []map[string]any `json:"records"`
	}
	if a := c.body(&in); a != nil {
		return a
	}
	leaves, ref, err := c.grow(o, in.Records)
	if err != nil {
		return reply(http.StatusBadRequest, map[string]any{
			"hasErrors": true, "results": []treeResult{{Ref: ref, Errors: failure("", err).Errors}},
		})
	}
	var done, refused []treeResult
	c.plural = true
	_ = c.write(func(tx *store.Tx) error { // refusals are in the results
		for _, l := range leaves {
			if l.parent != nil {
				if l.parent.id == "" {
					continue // the parent was refused
				}
				l.values[l.link.Name] = l.parent.id
			}
			id, err := tx.Create(l.object, l.values)
			if err != nil {
				refused = append(refused, treeResult{Ref: l.ref, Errors: failure("", err).Errors})
				continue
			}
			l.id = id
			done = append(done, treeResult{Ref: l.ref, ID: id})
		}
		if refused != nil {
			return errHalted
		}
		return nil
	})
	if refused != nil {
		return reply(http.StatusBadRequest, map[string]any{"hasErrors": true, "results": refused})
	}
	return reply(http.StatusCreated, map[string]any{"hasErrors": false, "results": done})
}

// grow lists the records of a tree level by level.
func (c *call) grow(o *schema.Object, roots []map[string]any) (all []*leaf, ref string, err *store.Error) {
	level := make([]*leaf, len(roots))
	for i, r := range roots {
		level[i] = &leaf{object: o, values: r}
	}
	seen, types := map[string]bool{}, map[*schema.Object]bool{}
	for depth := 1; len(level) > 0; depth++ {
		if depth > maxTreeLevels {
			return nil, level[0].ref, treeError("the tree has more than %d levels", maxTreeLevels)
		}
		var next []*leaf
		for _, l := range level {
			children, err := c.sprout(l)
			switch {
			case err != nil:
				return nil, l.ref, err
			case l.ref == "":
				return nil, "", treeError("a record has no referenceId")
			case seen[l.ref]:
				return nil, l.ref, &store.Error{Code: "INVALID_INPUT", Message: "Duplicate ReferenceId provided in the request: " + l.ref}
			}
			seen[l.ref], types[l.object] = true, true
			next = append(next, children...)
		}
		all = append(all, level...)
		level = next
	}
	switch {
	case len(all) == 0:
		return nil, "", treeError("the request has no records")
	case len(all) > maxTreeRecords:
		return nil, all[maxTreeRecords].ref, treeError("the tree has more than %d records", maxTreeRecords)
	case len(types) > maxTreeTypes:
		return nil, all[len(all)-1].ref, treeError("the tree has more than %d types of records", maxTreeTypes)
	}
	return all, "", nil
}

func treeError(format string, args ...any) *store.Error {
	return &store.Error{Code: "INVALID_INPUT", Message: fmt.Sprintf(format, args...)}
}

// sprout reads the reference of a leaf and separates its children from it.
func (c *call) sprout(l *leaf) (children []*leaf, err *store.Error) {
	attributes, _ := l.values["attributes"].(map[string]any)
	l.ref, _ = attributes["referenceId"].(string)
	if t, err := c.typeOf(l.values); err != nil {
		return nil, err
	} else if t != l.object {
		return nil, &store.Error{Code: "INVALID_TYPE", Message: "The record's type is not " + l.object.Name}
	}
	for _, name := range slices.Sorted(maps.Keys(l.values)) {
		nested, ok := l.values[name].(map[string]any)
		records, isList := nested["records"].([]any)
		if !ok || !isList {
			continue
		}
		link := c.childLink(l.object, name)
		if link == nil {
			return nil, &store.Error{Code: "INVALID_FIELD", Message: fmt.Sprintf("No such column '%s' on sobject of type %s", name, l.object.Name)}
		}
		delete(l.values, name)
		for _, r := range records {
			values, _ := r.(map[string]any)
			children = append(children, &leaf{object: link.Object, values: values, parent: l, link: link})
		}
	}
	return children, nil
}

// childLink finds the field behind a child relationship.
func (c *call) childLink(o *schema.Object, name string) *schema.Field {
	for _, f := range c.opt.Schema.Children(o) {
		if strings.EqualFold(f.ChildRelationship, name) {
			return f
		}
	}
	return nil
}
