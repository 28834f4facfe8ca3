"""Claims of onset are kept where their truth is known, as the page says."""

import studies_onset
from page import kept_and_found

test_claims_are_kept, test_what_is_planted_is_found = kept_and_found(studies_onset)
