"""What acts on a routed mail. For those who write handlers: `from handlers import Mail, Refuse, Reply, Retry`, and
`handlers.testkit` to test them. See `handlers.interface`.
"""

from handlers.interface import Refuse, Reply, Retry
from handlers.mail import Mail
from topology.replies.compose import Attachment

__all__ = ["Attachment", "Mail", "Refuse", "Reply", "Retry"]
