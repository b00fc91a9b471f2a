package ops

import (
	"fmt"
	"io"
	"log/slog"
)

// Logger writes structured logs. Format is "text", key=value in a line, or "json",
// an object in a line; level is "debug", "info", "warn" or "error".
func Logger(w io.Writer, format, level string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var at slog.Level
	if err := at.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is not one of debug, info, warn, error", level)
	}
	options.Level = at
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, fmt.Errorf("log format %q is not one of text, json", format)
}
