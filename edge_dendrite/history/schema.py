"""The tables of a history, as the numbered steps that lead to them.

A step is never changed once it was released: a file of an older version runs through the steps that it lacks.
The measurement itself is kept whole, so a later step can read anew what the tables take from it.
"""

from __future__ import annotations

# "EDhi": tells a history from any other SQLite file.
APPLICATION_ID = 0x45446869
Step = tuple[str, ...]

_RUNS = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: a removed number stays free
    run_id TEXT UNIQUE,                    -- of the measurement; the first agents wrote none
    sha256 TEXT NOT NULL UNIQUE,           -- of the measurement as canonical JSON
    added_at TEXT NOT NULL,                -- UTC, as started_at
    started_at TEXT,                       -- NULL where the board's clock was not set, or the text is no time
    status TEXT NOT NULL CHECK (status IN ('valid', 'invalid', 'partial', 'failed')),
    reasons TEXT NOT NULL,                 -- why it is not valid: a JSON list
    bundle_id TEXT NOT NULL,
    network TEXT NOT NULL,
    role TEXT NOT NULL,
    precision TEXT,
    board_name TEXT NOT NULL,              -- what the user calls the board; may be empty
    board_where TEXT NOT NULL,             -- what the board says of itself
    emulated TEXT,                         -- by what
    state TEXT NOT NULL,                   -- what was recorded of the board's state and the runtime: a JSON object
    num_samples INTEGER NOT NULL
)
"""
_FIGURES = """
CREATE TABLE figures (                     -- SI units; a figure that was not measured has no row
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    low REAL,
    high REAL,
    PRIMARY KEY (run, metric)
) WITHOUT ROWID
"""
_TAGS = """
CREATE TABLE tags (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (run, tag)
) WITHOUT ROWID
"""
# In a table of their own: a list of runs reads none of their pages.
_MEASUREMENTS = """
CREATE TABLE measurements (
    run INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    num_bytes INTEGER NOT NULL,            -- of the JSON
    content BLOB NOT NULL                  -- the JSON, by zlib
)
"""

# As `edge-dendrite compare` calls them.
_NEW_NAMES = (("median", "latency"), ("gross-energy", "energy"), ("bytes", "size"))

STEPS: tuple[Step, ...] = (
    (_RUNS, "CREATE INDEX runs_by_start ON runs (started_at)", _FIGURES, _TAGS, _MEASUREMENTS),
    tuple(f"UPDATE figures SET metric = '{new}' WHERE metric = '{old}'" for old, new in _NEW_NAMES),
)
