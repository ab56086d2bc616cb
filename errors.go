package sandbox

import (
	"context"
	"errors"
	"fmt"
)

// Code is an error number that travels on the wire. 4xxx is the caller's
// fault and not worth retrying unchanged; 5xxx is a fault of the tool, of a
// service behind it or of the sandbox. Each Code is itself an error, so
// errors.Is(err, sandbox.ErrBusy) works on any error of this package.
//
// Numbers that are not listed here (tools may bring their own) pass through
// unchanged.
type Code int

// The protocol's numbers.
const (
	ErrInvalidInput    Code = 4000 // a value is out of range or contradicts another
	ErrBusinessFailure Code = 4001 // the tool did its work and the answer is no
	ErrInvalidRequest  Code = 4002 // unknown or ambiguous tool, malformed request
	ErrMissingField    Code = 4003 // a required argument is absent
	ErrInvalidType     Code = 4004 // an argument has the wrong type or is unknown
	ErrInvalidURL      Code = 4005 // not a URL that the tool can use
	ErrNoResults       Code = 4006 // nothing found, where that is an error
	ErrNotInitialized  Code = 4007 // no such session, or its Open failed

	ErrExecution             Code = 5000 // a tool of an outside API failed
	ErrAPIKeyNotConfigured   Code = 5002 // the configuration lacks a key that the tool needs
	ErrAPIRequest            Code = 5003 // the service behind the tool refused or failed
	ErrAPIResponse           Code = 5004 // the service's answer cannot be understood
	ErrUnexpected            Code = 5005 // any other error, a panic included
	ErrTimeout               Code = 5006 // the call's own time limit passed
	ErrCrawling              Code = 5007 // a page could not be read
	ErrSummarization         Code = 5008 // a summary could not be made
	ErrAllFailed             Code = 5009 // every item of a batch failed
	ErrPartialFailure        Code = 5010 // some items of a batch failed
	ErrBackendNotInitialized Code = 5011 // the backend's warmup failed
	ErrDependency            Code = 5012 // an outside process or service failed
	ErrInternal              Code = 5013 // a fault of this library
)

// The numbers that this library adds.
const (
	ErrSessionExpired Code = 4008 // under StrictSessions: the session idled past its TTL
	ErrDenied         Code = 4009 // refused by policy; the message names the rule
	ErrUnauthorized   Code = 4010 // no token, or an unknown one
	ErrForbidden      Code = 4011 // the token does not cover this worker or operation
	ErrConflict       Code = 4012 // clashes with something that exists or runs
	ErrTooLarge       Code = 4013 // a body, file or value beyond its limit

	ErrBusy            Code = 5014 // a limit on sessions is reached; try again later
	ErrStopping        Code = 5015 // the sandbox is shutting down or was never usable
	ErrCancelled       Code = 5016 // the caller, or the end of its session, cancelled the call
	ErrSessionLost     Code = 5017 // the session's state is gone (crash, abandoned call)
	ErrCannotEnforce   Code = 5018 // this host cannot enforce the requested policy
	ErrBadRegistration Code = 5019 // the tool or backend was registered with a fault
)

// Error returns the number's default text, in the protocol's words.
func (c Code) Error() string {
	switch c {
	case ErrInvalidInput:
		return "Invalid input provided"
	case ErrBusinessFailure:
		return "Business logic execution failed"
	case ErrInvalidRequest:
		return "Invalid request format"
	case ErrMissingField:
		return "Missing required field"
	case ErrInvalidType:
		return "Invalid parameter type"
	case ErrInvalidURL:
		return "Invalid URL format"
	case ErrNoResults:
		return "No results found"
	case ErrNotInitialized:
		return "Resource not initialized"
	case ErrSessionExpired:
		return "Session expired"
	case ErrDenied:
		return "Denied by policy"
	case ErrUnauthorized:
		return "Unauthorized"
	case ErrForbidden:
		return "Forbidden"
	case ErrConflict:
		return "Conflict"
	case ErrTooLarge:
		return "Too large"
	case ErrExecution:
		return "Tool execution failed"
	case ErrAPIKeyNotConfigured:
		return "API key not configured"
	case ErrAPIRequest:
		return "API request failed"
	case ErrAPIResponse:
		return "Failed to parse API response"
	case ErrUnexpected:
		return "Unexpected error occurred"
	case ErrTimeout:
		return "Request timeout"
	case ErrCrawling:
		return "Crawling error"
	case ErrSummarization:
		return "Summarization error"
	case ErrAllFailed:
		return "All requests failed"
	case ErrPartialFailure:
		return "Partial failure"
	case ErrBackendNotInitialized:
		return "Backend not initialized"
	case ErrDependency:
		return "External dependency failed"
	case ErrInternal:
		return "Internal system error"
	case ErrBusy:
		return "Busy"
	case ErrStopping:
		return "Sandbox is stopping"
	case ErrCancelled:
		return "Cancelled"
	case ErrSessionLost:
		return "Session lost"
	case ErrCannotEnforce:
		return "Policy cannot be enforced"
	case ErrBadRegistration:
		return "Bad registration"
	}
	return fmt.Sprintf("error %d", int(c))
}

// Error is the error that every call of this package returns. Match it with
// errors.Is and a [Code]; read its details with errors.AsType[*sandbox.Error].
// A tool may return one to choose its own code, message and data.
type Error struct {
	Code    Code   // 0: none given; a tool's error then gets its ToolSpec.ErrorCode
	Message string // what travels; "": Err's text, else the code's default text
	Tool    string // full name of the tool, where one was found
	Session string // id of the session the call ran in, if any
	Data    any    // machine-readable detail, encoded as JSON; never a stack trace
	Ran     bool   // the tool's own code began: a replay may repeat side effects
	Err     error  // the cause; context.Canceled and DeadlineExceeded stay visible through it
}

// Errorf returns an [*Error] with the given code and formatted message. A %w
// verb makes its argument the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

func (e *Error) Error() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.Err != nil:
		return e.Err.Error()
	}
	return e.Code.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is e's [Code].
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// CodeOf returns the number under which err travels: that of the first
// [*Error] or [Code] in its tree; [ErrCancelled] for context.Canceled;
// [ErrUnexpected] for any other error, one with Code 0 included; 0 for nil.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code != 0 {
		return e.Code
	}
	if c, ok := errors.AsType[Code](err); ok && c != 0 {
		return c
	}
	if errors.Is(err, context.Canceled) {
		return ErrCancelled
	}
	return ErrUnexpected
}

// asError returns err as an *Error of its own (never one that is shared with
// another call), with the given code where err brings none.
func asError(err error, plain Code) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		c := *e
		if top, is := err.(*Error); !is || top != e {
			// Something was wrapped around it: keep what the wrapper says.
			c.Message, c.Err = err.Error(), err
		}
		if c.Code == 0 { // that of a success
			c.Code = plain
		}
		return &c
	}
	code := plain
	if c, ok := errors.AsType[Code](err); ok && c != 0 {
		code = c
	} else if errors.Is(err, context.Canceled) && code == ErrUnexpected {
		code = ErrCancelled
	}
	return &Error{Code: code, Message: err.Error(), Err: err}
}
