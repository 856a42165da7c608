"""Moves every stored secret to the newest key."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import models, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from provisioning.fields import Sealed, SecretTextField, UndecryptableSecret

BATCH = 100
PASSES = 5


class Command(BaseCommand):
    """Beside traffic: each secret is replaced only if it is still the one that was read."""

    help = (
        "Encrypt every stored secret with the first of FIELD_ENCRYPTION_KEYS. First give every running process the "
        "list with the new key in front of the old one; then run this; then the old key can be dropped. Safe to run "
        "beside traffic, and to run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The one option."""
        parser.add_argument("--dry-run", action="store_true", help="Count, and change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Count by count; fails when a secret is left that the newest key does not open."""
        dry = options["dry_run"]
        total: Counter[str] = Counter()
        for model, names in secret_fields():
            for _ in range(PASSES):
                counts = self._renew(model, names, dry=dry)
                total += Counter(renewed=counts["renewed"])
                if not counts["changed meanwhile"]:
                    break
            # Of the others, the last pass tells what is so now.
            total += Counter({word: count for word, count in counts.items() if word != "renewed"})
        self._conclude(total, dry=dry)

    def _renew(self, model: type[models.Model], names: list[str], *, dry: bool) -> Counter[str]:
        counts: Counter[str] = Counter()
        read = 0
        for rows in _batches(model, names):
            with transaction.atomic():
                for pk, *secrets in rows:
                    for name, sealed in zip(names, secrets, strict=True):
                        if sealed is not None:
                            counts[_renew_one(model, pk, name, sealed, dry=dry)] += 1
            read += len(rows)
            self.stderr.write(f"{model._meta.label}: {read} rows read, {counts['renewed']} secrets to the newest key")
        return counts

    def _conclude(self, total: Counter[str], *, dry: bool) -> None:
        self.stdout.write(
            f"{total['renewed']} secrets {'would be ' if dry else ''}moved to the newest key, "
            f"{total['current']} were there already."
        )
        if total["unreadable"]:
            raise CommandError(
                f"{total['unreadable']} secrets could not be read: the key they were written with is not in "
                "FIELD_ENCRYPTION_KEYS. They were left as they are. Keep every key you have until they can be read."
            )
        if total["changed meanwhile"]:
            raise CommandError(f"{total['changed meanwhile']} secrets were changed meanwhile. Run this again.")
        if not dry:
            self.stdout.write(
                "No secret needs an older key: all but the first of FIELD_ENCRYPTION_KEYS can be dropped."
            )


def secret_fields() -> Iterator[tuple[type[models.Model], list[str]]]:
    """Every model with encrypted columns, and their names."""
    for model in apps.get_models():
        names = [field.name for field in model._meta.local_concrete_fields if isinstance(field, SecretTextField)]
        if names and model._meta.managed and not model._meta.proxy:
            yield model, names


def _batches(model: type[models.Model], names: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    """All rows by primary key, as (pk, secret, …): no long transaction, no row twice."""
    rows = model._base_manager.order_by("pk").values_list("pk", *names)
    batch = list(rows[:BATCH])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1][0])[:BATCH])


def _renew_one(model: type[models.Model], pk: Any, name: str, sealed: Sealed, *, dry: bool) -> str:
    """What became of one secret, in a word to count by."""
    if sealed.is_current():
        return "current"
    try:
        renewed = sealed.renewed()
    except UndecryptableSecret:
        return "unreadable"
    if dry:
        return "renewed"
    # Only in place of what was read: a secret that somebody set meanwhile stays.
    same = model._base_manager.alias(stored=Cast(name, TextField())).filter(pk=pk, stored=sealed.token)
    return "renewed" if same.update(**{name: renewed}) else "changed meanwhile"
