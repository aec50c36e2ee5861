"""An audit file for a model and a pool that nobody has described yet: guessed, with its reasons."""

from calaudit.audit.proposal.propose import Proposal, propose_audit
from calaudit.audit.proposal.text import proposal_text

__all__ = ["Proposal", "proposal_text", "propose_audit"]
