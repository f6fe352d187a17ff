"""The time machine: selected mails are processed again, in a preview that writes nothing or in a new generation, and explained."""
