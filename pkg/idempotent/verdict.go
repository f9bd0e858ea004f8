package idempotent

import (
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// MaxAnswer is the largest answer that is kept, in bytes. Of a larger one only the resource is remembered.
const MaxAnswer = 1 << 20

// judged is an error about which the handler said more than its code does.
type judged struct {
	error
	final bool
}

func (j judged) Unwrap() error { return j.error }

// Final says that err is the answer to this key, whatever its kind: a repeated call gets it again.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return judged{err, true}
}

// NotExecuted says that the call had no effect, whatever the kind of err (a connection refused before anything was
// sent): a repeated call is executed.
func NotExecuted(err error) error {
	if err == nil {
		return nil
	}
	return judged{err, false}
}

// fate is what becomes of a claim after the handler returned.
type fate uint8

const (
	fateDone      fate = iota // the answer is stored
	fateReleased              // nothing happened
	fateUncertain             // it may have happened
)

// fateOf decides what an error of the handler says about its effect.
func fateOf(err error) fate {
	if err == nil {
		return fateDone
	}
	if j, ok := errors.AsType[judged](err); ok {
		if j.final {
			return fateDone
		}
		return fateReleased
	}
	if fault.KindOf(err) == fault.Uncertain {
		return fateUncertain
	}
	switch fault.ToStatus(err).Code() {
	case codes.FailedPrecondition, codes.NotFound, codes.AlreadyExists, codes.OutOfRange:
		return fateDone
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.ResourceExhausted,
		codes.Unimplemented, codes.Aborted:
		return fateReleased
	default:
		return fateUncertain
	}
}

func okAnswer(resp any, resource func(proto.Message) string) (Answer, error) {
	msg, ok := resp.(proto.Message)
	if !ok {
		return Answer{}, fmt.Errorf("response %T is not a protobuf message", resp)
	}
	a := Answer{OK: true}
	if resource != nil {
		a.Resource = resource(msg)
	}
	wrapped, err := anypb.New(msg)
	if err != nil {
		return Answer{}, fmt.Errorf("store response: %w", err)
	}
	body, err := proto.Marshal(wrapped)
	if err != nil {
		return Answer{}, fmt.Errorf("store response: %w", err)
	}
	if len(body) <= MaxAnswer {
		a.Body = body
	}
	return a, nil
}

func errAnswer(err error) (Answer, error) {
	body, err := proto.Marshal(fault.ToStatus(err).Proto())
	if err != nil {
		return Answer{}, fmt.Errorf("store error: %w", err)
	}
	return Answer{Body: body}, nil
}

// open returns the stored response, or the stored status.
func (a Answer) open() (proto.Message, *status.Status, error) {
	if !a.OK {
		st := &status.Status{}
		if err := proto.Unmarshal(a.Body, st); err != nil {
			return nil, nil, fmt.Errorf("stored error: %w", err)
		}
		return nil, st, nil
	}
	wrapped := &anypb.Any{}
	if err := proto.Unmarshal(a.Body, wrapped); err != nil {
		return nil, nil, fmt.Errorf("stored response: %w", err)
	}
	msg, err := wrapped.UnmarshalNew()
	if err != nil {
		return nil, nil, fmt.Errorf("stored response: %w", err)
	}
	return msg, nil, nil
}
