from __future__ import annotations

from cwt.tls import Alert, AlertDescription


def test_alert_reads_well() -> None:
    assert str(Alert(120, "text")) == "no_application_protocol (120): text"
    assert str(Alert(200)) == "alert (200)"


def test_attributes() -> None:
    alert = Alert(AlertDescription.BAD_CERTIFICATE, "text", certificate=True)
    assert type(alert.description) is int
    assert (alert.description, alert.reason) == (42, "text")
    assert alert.certificate and alert.transport_code is None
    assert Alert(10, transport_code=0x0A).transport_code == 0x0A
