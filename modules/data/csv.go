package data

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type csvParse struct {
	Text      modules.Text `lua:"text,required,primary" alias:"csv" pos:"1" doc:"CSV text"`
	Header    bool         `lua:"header" doc:"The first line names the columns; without, rows are lists"`
	Separator string       `lua:"separator" alias:"delimiter,sep" doc:"One character between fields"`
	Comment   string       `lua:"comment" doc:"Lines that begin with this character are passed over"`
}

// Query reads the text. Every field is text.
func (c *csvParse) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	return read(ctx, c.Text, func(text string) (any, error) {
		sep, err := one("separator", c.Separator)
		if err != nil {
			return nil, err
		}
		r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
		r.Comma = sep
		if c.Comment != "" {
			if r.Comment, err = one("comment", c.Comment); err != nil {
				return nil, err
			}
		}
		r.FieldsPerRecord = -1
		var names []string
		rows := []any{}
		cells := 0
		for {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				return rows, nil
			}
			if err != nil {
				return nil, csvError(err)
			}
			if cells += len(record); cells > maxNodes {
				return nil, fmt.Errorf("more than %d fields", maxNodes)
			}
			line, _ := r.FieldPos(0)
			switch {
			case c.Header && names == nil:
				names = record
				if twice := repeated(names); twice != "" {
					return nil, fmt.Errorf("line %d: two columns are called %q; use header = false", line, twice)
				}
			case c.Header:
				if len(record) != len(names) {
					return nil, fmt.Errorf("line %d has %d fields, the first line names %d", line, len(record), len(names))
				}
				row := make(map[string]any, len(record))
				for i, v := range record {
					row[names[i]] = v
				}
				rows = append(rows, row)
			default:
				row := make([]any, len(record))
				for i, v := range record {
					row[i] = v
				}
				rows = append(rows, row)
			}
		}
	})
}

func csvError(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("line %d, column %d: %w", p.Line, p.Column, p.Err)
	}
	return err
}

func repeated(names []string) string {
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			return n
		}
		seen[n] = true
	}
	return ""
}

// one is the only character of s.
func one(name, s string) (rune, error) {
	c, n := utf8.DecodeRuneInString(s)
	if n == 0 || n != len(s) || c == utf8.RuneError || c == '"' || c == '\r' || c == '\n' {
		return 0, fmt.Errorf("%s = %q: it must be one character, and neither a quote nor the end of a line", name, s)
	}
	return c, nil
}

type csvGenerate struct {
	Rows      []any    `lua:"rows,required,primary" pos:"1" doc:"List of tables, or of lists"`
	Columns   []string `lua:"columns" alias:"fields" doc:"Which columns, in order; by default all of them, sorted"`
	Header    bool     `lua:"header" doc:"Begins with the names of the columns when the rows are tables, or columns are given"`
	Separator string   `lua:"separator" alias:"delimiter,sep" doc:"One character between fields"`
}

// Query writes the rows.
func (c *csvGenerate) Query(context.Context, facts.Viewer) ([]any, error) {
	sep, err := one("separator", c.Separator)
	if err != nil {
		return nil, err
	}
	return write(c.Rows, func(v any) (string, error) {
		rows, _ := v.([]any)
		columns := c.columns(rows)
		var b strings.Builder
		w := csv.NewWriter(&b)
		w.Comma = sep
		if c.Header && columns != nil {
			if err := w.Write(columns); err != nil {
				return "", err
			}
		}
		for i, row := range rows {
			record, err := c.record(row, columns)
			if err != nil {
				return "", fmt.Errorf("row %d: %w", i+1, err)
			}
			if err := w.Write(record); err != nil {
				return "", fmt.Errorf("row %d: %w", i+1, err)
			}
		}
		w.Flush()
		return b.String(), w.Error()
	})
}

func (c *csvGenerate) columns(rows []any) []string {
	if c.Columns != nil {
		return c.Columns
	}
	all := map[string]any{}
	for _, row := range rows {
		if m, ok := row.(map[string]any); ok {
			for k := range m {
				all[k] = nil
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return keys(all)
}

func (c *csvGenerate) record(row any, columns []string) ([]string, error) {
	switch row := row.(type) {
	case []any:
		out := make([]string, len(row))
		for i, v := range row {
			cell, err := cell(v)
			if err != nil {
				return nil, fmt.Errorf("field %d %w", i+1, err)
			}
			out[i] = cell
		}
		return out, nil
	case map[string]any:
		out := make([]string, len(columns))
		for i, k := range columns {
			cell, err := cell(row[k])
			if err != nil {
				return nil, fmt.Errorf("%s %w", k, err)
			}
			out[i] = cell
		}
		return out, nil
	}
	return nil, errors.New("it is neither a table nor a list")
}

func cell(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []any, map[string]any:
		return "", errors.New("is a table, which no field can hold")
	}
	return fmt.Sprint(v), nil
}
