package idempotent

import (
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

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

// fateOf decides what an error of the handler says about its effect. With successOnly errors are kept only if the handler
// said so.
func fateOf(err error, successOnly bool) fate {
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
		if successOnly {
			return fateReleased
		}
		return fateDone
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.ResourceExhausted,
		codes.Unimplemented, codes.Aborted:
		return fateReleased
	default:
		return fateUncertain
	}
}

// MayHaveExecuted reports whether err leaves open if the effect happened: it is of kind Uncertain, or of a kind that does not
// say, and nobody marked it with NotExecuted or Final.
func MayHaveExecuted(err error) bool { return err != nil && fateOf(err, false) == fateUncertain }
