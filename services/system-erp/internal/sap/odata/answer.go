package odata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Answer is what came back of one operation.
type Answer struct {
	Status int
	// ETag is the tag of the entity as it is now; empty when there is none.
	ETag string
	// Body is the entity without its envelope; empty after a change.
	Body json.RawMessage
	// Note is the gravest of what SAP said beside a success; its severity is info or warning. Notes are all of it.
	Note  Message
	Notes []Message
	// Repeatability is what idempotent services say about a request with a RequestID: "accepted" or "unsupported".
	Repeatability string
}

// answer reads an answer of one operation and passes on what is said beside it.
func (c *Client) answer(ctx context.Context, service string, r reply, write bool) (Answer, error) {
	a, err := r.answer(write)
	c.noted(ctx, service, a)
	return a, err
}

func (c *Client) noted(ctx context.Context, service string, a Answer) {
	if len(a.Notes) > 0 && c.o.Noted != nil {
		c.o.Noted(ctx, service, a.Notes)
	}
}

// answer reads an answer of one operation; write says that it was a modifying one.
func (r reply) answer(write bool) (Answer, error) {
	a := Answer{Status: r.status, ETag: r.header.Get("Etag"), Repeatability: r.header.Get("RepeatabilityResult")}
	if r.status < 200 || r.status > 299 {
		return a, r.refusal(write)
	}
	a.Notes = notes(r.header)
	a.Note = gravest(a.Notes)
	if a.Note.Severity == "error" { // a success with an error in it: nobody can say what is stored
		if write {
			return a, lost(a.Note.problem(r.status))
		}
		return a, fault.Wrap(fault.Unavailable, ReasonAnswer, a.Note.problem(r.status), "SAP answered a read with an error beside it")
	}
	if len(bytes.TrimSpace(r.body)) == 0 {
		return a, nil
	}
	var envelope struct {
		D json.RawMessage `json:"d"`
	}
	if err := json.Unmarshal(r.body, &envelope); err != nil || len(envelope.D) == 0 {
		if write {
			return a, lost(errors.New("the answer cannot be read"))
		}
		return a, fault.Wrap(fault.Unavailable, ReasonAnswer, err, "SAP's answer cannot be read")
	}
	a.Body = envelope.D
	if a.ETag == "" {
		a.ETag = TagOf(a.Body)
	}
	return a, nil
}

// TagOf is the tag in the metadata of an entity; empty when there is none.
func TagOf(entity json.RawMessage) string {
	var m struct {
		Metadata struct {
			ETag string `json:"etag"`
		} `json:"__metadata"`
	}
	if json.Unmarshal(entity, &m) != nil {
		return ""
	}
	return m.Metadata.ETag
}
