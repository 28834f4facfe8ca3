"""Experiments: lists of runs and their analyses, resumable, on one machine or on many.

sweep_file.py    a sweep in TOML -> configurations and analyses
cells.py         where each run of a sweep stands, read from the disk
cost.py          predicted time and disk
job.py           one run: train or resume, analyse; the same in a local process and on a Dask worker
local.py         jobs in processes of this machine        on_dask.py   jobs on the workers of a Dask scheduler
sweep.py         plan, do what is missing, table and figure
thinning.py      fewer snapshots, on request              status_figure.py   the picture
"""
