"""A batch's data set, or its folder, in; last week's shots with the narrowest attention (coverage below .05) out.

python examples/query_dataset.py DATASET [DAYS]
"""

import sys
from pathlib import Path

import duckdb

QUERY = """
    SELECT input, start_seconds, end_seconds, key_seconds, coverage, attention_strength
    FROM read_parquet($shots, hive_partitioning = true, hive_types = {'input_date': DATE})
    WHERE input_date >= current_date - $days::INTEGER AND coverage < .05
    ORDER BY attention_strength DESC
"""

if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/query_dataset.py DATASET [DAYS]")
    given, days = Path(sys.argv[1]), (sys.argv[2:] or ["7"])[0]
    folder = given if (given / "shots").is_dir() else given / "dataset"
    if not any(folder.glob("shots/**/*.parquet")):
        sys.exit(f"{given} holds no data set of a batch: name the folder dataset of the batch's results")
    shots = duckdb.execute(QUERY, {"shots": f"{folder}/shots/**/*.parquet", "days": days}).fetchall()
    for name, start, end, key, coverage, strength in shots:
        print(f"{name}  {start:.2f}-{end:.2f} s  key {key:.2f} s  coverage {coverage:.3f}  strength {strength:.2f} bit")
    print(f"{len(shots)} shots")
