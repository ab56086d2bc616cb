package sandbox

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox/internal/size"
)

// The setters read one value of the file into a Go variable and say what is
// wrong with it, "" if nothing is. Numbers and booleans may be strings, for
// that is what variables expand to.

type setter func(v any) (wrong string)

func setText(to *string) setter {
	return func(v any) string {
		s, ok := v.(string)
		if !ok && v != nil { // null is as good as absent
			return "expected a string"
		}
		*to = s
		return ""
	}
}

func setFlag(to *bool) setter {
	return func(v any) string {
		switch v := v.(type) {
		case nil:
			return ""
		case bool:
			*to = v
			return ""
		case string:
			if b, err := strconv.ParseBool(strings.ToLower(v)); err == nil {
				*to = b
				return ""
			}
		}
		return "expected true or false"
	}
}

func setInt(to *int, low, high int) setter {
	return func(v any) string {
		if v == nil {
			return ""
		}
		n, err := strconv.Atoi(numeral(v))
		if err != nil || n < low || n > high {
			if high == math.MaxInt {
				return fmt.Sprintf("expected a whole number of at least %d", low)
			}
			return fmt.Sprintf("expected a whole number from %d to %d", low, high)
		}
		*to = n
		return ""
	}
}

// numeral returns the text of a number, "" for anything else.
func numeral(v any) string {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		return strings.TrimSpace(v)
	}
	return ""
}

const wantSeconds = `expected seconds, or a text such as "90s", "5m", "1h"`

// setDuration reads seconds or Go's notation; -1 is kept where it means never.
func setDuration(to *time.Duration, never bool) setter {
	return func(v any) string {
		if v == nil {
			return ""
		}
		text := numeral(v)
		d, err := time.ParseDuration(text)
		if n, numErr := strconv.ParseFloat(text, 64); numErr == nil {
			if math.Abs(n) > math.MaxInt64/float64(time.Second)/2 || math.IsNaN(n) {
				return wantSeconds
			}
			d, err = time.Duration(n*float64(time.Second)), nil
		}
		switch {
		case err != nil:
			return wantSeconds
		case never && d == -time.Second:
		case d <= 0 && never:
			return "expected more than 0 seconds, or -1 for never"
		case d <= 0:
			return "expected more than 0 seconds"
		}
		*to = d
		return ""
	}
}

const wantSize = `expected bytes, or a text such as "64KiB", "32MiB", "1GiB"`

// setSize reads a number of bytes; -1 is kept where it switches a limit off.
func setSize(to *int64, off bool) setter {
	return func(v any) string {
		if v == nil {
			return ""
		}
		text := numeral(v)
		if off && text == "-1" {
			*to = -1
			return ""
		}
		n, ok := size.Parse(text)
		switch {
		case !ok && off:
			return wantSize + ", or -1 for no limit"
		case !ok:
			return wantSize
		case n == 0:
			return "0 bytes leave no room for anything: leave the key out for the default"
		}
		*to = n
		return ""
	}
}

// setCPU reads a number of processors; -1 switches the limit off.
func setCPU(to *float64) setter {
	return func(v any) string {
		if v == nil {
			return ""
		}
		n, err := strconv.ParseFloat(numeral(v), 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n <= 0 && n != -1 {
			return "expected a number of processors such as 0.5 or 2, or -1 for no limit"
		}
		*to = n
		return ""
	}
}

// setCount reads a limit; -1 switches it off.
func setCount(to *int) setter {
	return func(v any) string {
		if v == nil {
			return ""
		}
		n, err := strconv.Atoi(numeral(v))
		if err != nil || n < 1 && n != -1 {
			return "expected a whole number of at least 1, or -1 for no limit"
		}
		*to = n
		return ""
	}
}

func setTexts(to *[]string) setter {
	return func(v any) string {
		if v == nil {
			return ""
		}
		list, ok := v.([]any)
		if !ok {
			return "expected an array of strings"
		}
		texts := make([]string, len(list))
		for i, item := range list {
			if texts[i], ok = item.(string); !ok || texts[i] == "" {
				return fmt.Sprintf("expected an array of strings, not empty ones; item %d is none", i)
			}
		}
		*to = texts
		return ""
	}
}

func setLogLevel(to *slog.Level) setter {
	return func(v any) string {
		if v == nil {
			return ""
		}
		s, _ := v.(string)
		level, ok := parseLogLevel(s)
		if !ok {
			return "expected DEBUG, INFO, WARNING or ERROR"
		}
		*to = level
		return ""
	}
}

func parseLogLevel(s string) (slog.Level, bool) {
	switch strings.ToUpper(s) {
	case "DEBUG":
		return slog.LevelDebug, true
	case "INFO":
		return slog.LevelInfo, true
	case "WARN", "WARNING":
		return slog.LevelWarn, true
	case "ERROR", "CRITICAL":
		return slog.LevelError, true
	}
	return 0, false
}

func joinAddr(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
