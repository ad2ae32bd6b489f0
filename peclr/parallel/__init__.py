"""A job in independent tasks: by processes here, by parts of a job array, killed and repeated, with one result."""

from peclr.parallel.job import Advance, Job, Part, add_job_options, add_part, check_claim, claim, part_of, run

__all__ = ["Advance", "Job", "Part", "add_job_options", "add_part", "check_claim", "claim", "part_of", "run"]
