"""From a query's bytes to a response's bytes: the zone's answers, or upstream's.

``answer_now`` gives what can be said without waiting, ``answer`` the rest; every query gets a
response with the right code, however odd it is, except bytes that do not even have an id and
messages that are themselves responses.
"""

import logging

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.message import Message
from dns.rrset import RRset

from kybern.component.clock import Clock
from kybern.dns.forward import Forwarder, Unanswered
from kybern.dns.wire import HEADER_BYTES, MalformedMessage
from kybern.dns.zone import Answer, Zone

logger = logging.getLogger(__name__)

# The size that passes every network without fragments (DNS flag day 2020).
UDP_PAYLOAD = 1232
_PLAIN_UDP_PAYLOAD = 512
_MAX_MESSAGE = 65535
_SILENCE = b""
_NEVER_FORWARDED = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


class Pending:
    """A query whose answer has to be waited for: not of this zone, or an alias that leaves it."""

    def __init__(self, query: Message, wire: bytes, alias: Answer | None = None) -> None:
        self.query = query
        self.wire = wire
        self.alias = alias


class Resolver:
    """One node's answers."""

    def __init__(self, zone: Zone, forwarder: Forwarder, clock: Clock) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._clock = clock

    def answer_now(self, wire: bytes, *, tcp: bool) -> bytes | Pending:
        """The response, or what is left to wait for; empty bytes mean no response at all."""
        if len(wire) < HEADER_BYTES or wire[2] & 0x80:
            return _SILENCE
        try:
            query = dns.message.from_wire(wire, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return _bare(wire, dns.rcode.FORMERR)
        refusal = _refusal(query)
        if refusal is not None:
            return self._encode(_response(query, refusal), query, tcp)
        question = query.question[0]
        answer = self._zone.resolve(question.name, question.rdtype)
        if answer is None or answer.alias is not None:
            return Pending(query, wire, answer)
        return self._encode(self._message(query, answer), query, tcp)

    async def answer(self, pending: Pending, *, tcp: bool) -> bytes:
        """The response to what ``answer_now`` could not answer."""
        query = pending.query
        if pending.alias is not None:
            message = self._message(query, pending.alias)
            message.answer += await self._followed(pending.alias, query)
            return self._encode(message, query, tcp)
        if not query.flags & dns.flags.RD:
            return self._encode(_response(query, dns.rcode.REFUSED), query, tcp)
        try:
            reply = await self._forwarder.ask(pending.wire, tcp=tcp)
        except (Unanswered, MalformedMessage) as error:
            logger.debug("no answer to %s: %s", query.question[0], error)
            return self._encode(_response(query, dns.rcode.SERVFAIL), query, tcp)
        return reply

    async def _followed(self, alias: Answer, query: Message) -> list[RRset]:
        """Upstream's records for the name that an ExternalName Service leads to."""
        assert alias.alias is not None
        question = dns.message.make_query(alias.alias, query.question[0].rdtype)
        question.id = self._clock.random.getrandbits(16)
        try:
            reply = dns.message.from_wire(await self._forwarder.ask(question.to_wire(), tcp=True))
        except (Unanswered, MalformedMessage, dns.exception.DNSException, ValueError) as error:
            logger.debug("no answer for %s: %s", alias.alias, error)
            return []
        return list(reply.answer)

    def _message(self, query: Message, answer: Answer) -> Message:
        response = _response(query, answer.rcode)
        response.flags |= dns.flags.AA
        for rrset in answer.answers:
            if len(rrset) > 1:
                # Clients take the first address: each gets another one first.
                items = list(rrset)
                self._clock.random.shuffle(items)
                rrset.items = dict.fromkeys(items)
        response.answer = answer.answers
        response.authority = answer.authority
        response.additional = answer.additional
        return response

    def _encode(self, response: Message, query: Message, tcp: bool) -> bytes:
        if tcp:
            limit = _MAX_MESSAGE
        elif query.edns >= 0:
            limit = max(_PLAIN_UDP_PAYLOAD, min(query.payload, UDP_PAYLOAD))
        else:
            limit = _PLAIN_UDP_PAYLOAD
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.additional = []
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.answer = response.authority = []
            response.flags |= dns.flags.TC
            return response.to_wire(max_size=limit)


def _refusal(query: Message) -> dns.rcode.Rcode | None:
    """Why a well-formed query is not answered; None if it is."""
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    if query.edns > 0:
        return dns.rcode.BADVERS
    question = query.question[0]
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _NEVER_FORWARDED:
        return dns.rcode.REFUSED
    return None


def _response(query: Message, rcode: dns.rcode.Rcode) -> Message:
    response = dns.message.make_response(query, recursion_available=True, our_payload=UDP_PAYLOAD)
    response.set_rcode(rcode)
    return response


def _bare(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone, for queries that cannot be parsed."""
    return wire[:2] + bytes([0x80 | wire[2] & 0x79, rcode]) + bytes(8)
